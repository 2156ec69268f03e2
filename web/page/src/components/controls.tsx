/** Small controls that several parts of the page use. */

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

/** A choice of a few, side by side: radio buttons, so that arrow keys move between them. */
export function Segmented<T extends string>(props: {
  label: string;
  options: readonly { value: T; text: string }[];
  value: T;
  onChange: (value: T) => void;
}) {
  const name = useId();
  return (
    <fieldset class="segmented">
      <legend class="hidden">{props.label}</legend>
      {props.options.map(({ value, text }) => (
        <label key={value}>
          <input type="radio" name={name} checked={value === props.value} onChange={() => props.onChange(value)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** A labelled choice of many. */
export function Select(props: {
  label: string;
  value: string;
  options: readonly { value: string; text: string }[];
  onChange: (value: string) => void;
  disabled?: boolean;
  compact?: boolean;
}) {
  const id = useId();
  return (
    <div class={props.compact ? "field compact" : "field"}>
      <label for={id}>{props.label}</label>
      <select id={id} value={props.value} disabled={props.disabled ?? false} onChange={(event) => props.onChange(event.currentTarget.value)}>
        {props.options.map(({ value, text }) => (
          <option key={value} value={value} selected={value === props.value}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

/** A labelled line of text. */
export function TextField(props: {
  label: string;
  value: string;
  onInput: (value: string) => void;
  placeholder?: string;
  hint?: string;
  disabled?: boolean;
}) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <input
        id={id}
        type="text"
        autocomplete="off"
        spellcheck={false}
        value={props.value}
        placeholder={props.placeholder ?? ""}
        disabled={props.disabled ?? false}
        aria-describedby={props.hint === undefined ? undefined : `${id}-hint`}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
      {props.hint !== undefined && (
        <small class="hint" id={`${id}-hint`}>
          {props.hint}
        </small>
      )}
    </div>
  );
}

/** A part of the page with its heading. */
export function Panel(props: { id: string; title: ComponentChildren; controls?: ComponentChildren; class?: string; children: ComponentChildren }) {
  return (
    <section class={`panel ${props.class ?? ""}`} aria-labelledby={props.id}>
      <header class="panel-head">
        <h2 id={props.id}>{props.title}</h2>
        {props.controls}
      </header>
      {props.children}
    </section>
  );
}
