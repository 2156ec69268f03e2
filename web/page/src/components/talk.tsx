/** Talking: the pipeline, the button, the levels, the devices, the seat, text. */

import { useSignal } from "@preact/signals";
import type { Parameter, VoiceState } from "@tidegate/client";
import * as sound from "../state/sound.js";
import * as store from "../state/store.js";
import { chooseMicrophone, hangUp, interrupt, sendText, setMuted, talk } from "../state/talk.js";
import { Panel, Select, TextField } from "./controls.js";
import { LevelMeter } from "./meter.js";

const STATES: Record<VoiceState, string> = {
  preparing: "Asking for the microphone",
  signalling: "Asking the gateway",
  connecting: "Looking for a path for media",
  connected: "Connected",
  reconnecting: "Connection lost, trying to get it back",
  closed: "Not connected",
};

function TalkButton() {
  const pipeline = store.pipeline.value;
  if (store.inCall.value) {
    return (
      <button type="button" class="talk stop" onClick={hangUp}>
        Stop
      </button>
    );
  }
  return (
    <button type="button" class="talk primary" disabled={pipeline === null} onClick={() => talk()}>
      {store.verb.value}
    </button>
  );
}

function CallButtons() {
  const connected = store.callState.value === "connected";
  const muted = store.muted.value;
  // Before a call as well: it then begins muted.
  const hears = store.inCall.value ? !store.listensOnly.value : (store.pipeline.value?.inputs.some((input) => input.kind === "audio") ?? false);
  return (
    <div class="pair">
      <button type="button" aria-pressed={muted} disabled={!hears} title={store.inCall.value ? "" : "The next call begins muted"} onClick={() => setMuted(!muted)}>
        Mute
      </button>
      <button type="button" disabled={!connected} onClick={interrupt}>
        Interrupt
      </button>
    </div>
  );
}

function Devices() {
  const name = (device: MediaDeviceInfo, index: number, kind: string): string => (device.label === "" ? `${kind} ${index + 1}` : device.label);
  const options = (devices: MediaDeviceInfo[], kind: string) => [
    { value: "", text: "System default" },
    ...devices.filter((device) => device.deviceId !== "default").map((device, index) => ({ value: device.deviceId, text: name(device, index, kind) })),
  ];
  return (
    <>
      <Select
        label="Microphone"
        value={sound.microphoneId.value}
        options={options(sound.microphones.value, "Microphone")}
        onChange={(id) => void chooseMicrophone(id)}
      />
      {sound.canChooseSpeaker && sound.speakers.value.length > 1 && (
        <Select
          label="Loudspeaker"
          value={sound.speakerId.value}
          options={options(sound.speakers.value, "Loudspeaker")}
          onChange={(id) => void sound.chooseSpeaker(id)}
        />
      )}
    </>
  );
}

/** In a pipeline that clients share: which session, and which of its inputs is this client's. */
function Seat() {
  const pipeline = store.pipeline.value;
  if (!pipeline?.shared) return null;
  const seats = pipeline.inputs.filter((input) => input.kind === "audio");
  return (
    <fieldset class="seat" disabled={store.inCall.value}>
      <legend>Shared session</legend>
      <TextField
        label="Key"
        value={store.seatKey.value}
        placeholder="a session of your own"
        hint="Those who give the same key are in the same session."
        onInput={(value) => {
          store.seatKey.value = value;
        }}
      />
      <Select
        label="Seat"
        value={store.seatPort.value}
        options={[{ value: "", text: "The gateway chooses" }, ...seats.map((seat) => ({ value: seat.name, text: seat.name }))]}
        onChange={(value) => {
          store.seatPort.value = value;
        }}
      />
    </fieldset>
  );
}

function ParameterField({ name, parameter }: { name: string; parameter: Parameter }) {
  const value = store.parameters.value[name] ?? "";
  const usual = parameter.default === undefined || parameter.default === null ? null : String(parameter.default);
  const set = (value: string): void => {
    store.parameters.value = { ...store.parameters.value, [name]: value };
  };
  const choices = parameter.type === "boolean" ? [true, false] : (parameter.enum ?? []);
  if (choices.length > 0) {
    const options = choices.map((choice) => ({ value: String(choice), text: String(choice) }));
    const first = { value: "", text: usual === null ? "choose one" : `as declared: ${usual}` };
    return <Select label={name} value={value} disabled={store.inCall.value} options={[first, ...options]} onChange={set} />;
  }
  const range = parameter.min !== undefined || parameter.max !== undefined ? ` ${parameter.min ?? ""}…${parameter.max ?? ""}` : "";
  const hint = `${parameter.description ?? ""}${range}`.trim();
  return (
    <TextField label={name} value={value} placeholder={usual ?? "needed"} disabled={store.inCall.value} onInput={set} {...(hint === "" ? {} : { hint })} />
  );
}

function Parameters() {
  const declared = Object.entries(store.description.value?.parameters ?? {});
  if (declared.length === 0) return null;
  return (
    <details class="parameters" open={declared.some(([, parameter]) => parameter.default === null)}>
      <summary>Parameters</summary>
      {declared.map(([name, parameter]) => (
        <ParameterField key={name} name={name} parameter={parameter} />
      ))}
    </details>
  );
}

function TextInput() {
  const ports = store.pipeline.value?.inputs.filter((input) => input.kind === "text") ?? [];
  const draft = useSignal("");
  const chosen = useSignal("");
  const port = ports.some((one) => one.name === chosen.value) ? chosen.value : (ports[0]?.name ?? "");
  if (ports.length === 0) return null;
  const connected = store.callState.value === "connected";
  return (
    <form
      class="text-input"
      onSubmit={(event) => {
        event.preventDefault();
        if (draft.value.trim() === "") return;
        sendText(port, draft.value);
        draft.value = "";
      }}
    >
      {ports.length > 1 && (
        <Select
          label="Text goes to"
          value={port}
          options={ports.map((one) => ({ value: one.name, text: one.name }))}
          onChange={(value) => {
            chosen.value = value;
          }}
        />
      )}
      <div class="field">
        <label for="text">Text for “{port}”</label>
        <div class="with-button">
          <input
            id="text"
            type="text"
            autocomplete="off"
            value={draft}
            disabled={!connected}
            placeholder={connected ? "" : "after connecting"}
            onInput={(event) => {
              draft.value = event.currentTarget.value;
            }}
          />
          <button type="submit" disabled={!connected}>
            Send
          </button>
        </div>
      </div>
    </form>
  );
}

/** The panel to talk from. */
export function TalkPanel() {
  const pipeline = store.pipeline.value;
  const deaf = pipeline !== null && !pipeline.inputs.some((input) => input.kind === "audio");
  const state = store.callState.value;
  return (
    <Panel id="talk" title="Talk" class="talk-panel">
      <Select
        label="Pipeline"
        value={store.pipelineName.value ?? ""}
        disabled={store.inCall.value || store.pipelines.value.length === 0}
        options={
          store.pipelines.value.length === 0
            ? [{ value: "", text: store.reachable.value === false ? "none: no gateway" : "none" }]
            : store.pipelines.value.map((row) => ({ value: row.name, text: row.name }))
        }
        onChange={(name) => {
          store.pipelineName.value = name;
          store.parameters.value = {};
          store.watch(null);
        }}
      />
      {pipeline !== null && pipeline.description !== "" && <p class="hint description">{pipeline.description}</p>}
      {deaf && <p class="note">This pipeline has no audio input: it cannot hear you. You can open it, read and listen.</p>}
      <Seat />
      <TalkButton />
      <p class="call-state" role="status">
        <span class={`lamp ${store.silent.value ? "bad" : state === "connected" ? "good" : state === "reconnecting" ? "bad" : store.inCall.value ? "wait" : "off"}`} aria-hidden="true" />
        {store.silent.value ? "Nothing comes from the gateway" : STATES[state ?? "closed"]}
      </p>
      <CallButtons />
      <LevelMeter label="Input" meter={sound.inputMeter} />
      <LevelMeter label="Output" meter={sound.outputMeter} />
      <Devices />
      <Parameters />
      <TextInput />
    </Panel>
  );
}
