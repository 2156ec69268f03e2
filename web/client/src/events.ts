/** Typed events over the platform's `EventTarget`; `CustomEvent` is not there in Node 18, so the event is our own. */

/** An event with what it tells. */
export class DetailEvent<T> extends Event {
  readonly detail: T;

  constructor(type: string, detail: T) {
    super(type);
    this.detail = detail;
  }
}

type Listener<T> = ((event: DetailEvent<T>) => void) | { handleEvent(event: DetailEvent<T>): void };

/** An `EventTarget` whose events are named, with their details, by `Map`. */
export class TypedTarget<Map extends object> extends EventTarget {
  override addEventListener<K extends keyof Map & string>(
    type: K,
    listener: Listener<Map[K]> | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    super.addEventListener(type, listener as EventListenerOrEventListenerObject | null, options);
  }

  override removeEventListener<K extends keyof Map & string>(
    type: K,
    listener: Listener<Map[K]> | null,
    options?: boolean | EventListenerOptions,
  ): void {
    super.removeEventListener(type, listener as EventListenerOrEventListenerObject | null, options);
  }

  /** Tells the listeners. */
  protected emit<K extends keyof Map & string>(type: K, detail: Map[K]): void {
    this.dispatchEvent(new DetailEvent(type, detail));
  }
}
