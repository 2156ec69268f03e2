/** Starts the page. */

import "uplot/dist/uPlot.min.css";
import "./style/page.css";
import "./style/controls.css";
import "./style/picture.css";
import "./style/turn.css";
import { render } from "preact";
import { App } from "./components/app.js";
import { startPolling } from "./state/poll.js";
import { listDevices } from "./state/sound.js";

const root = document.getElementById("page");
if (root !== null) {
  startPolling();
  void listDevices();
  navigator.mediaDevices?.addEventListener("devicechange", () => void listDevices());
  render(<App />, root);
}
