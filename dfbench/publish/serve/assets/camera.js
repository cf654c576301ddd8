// A picture from the camera: the phone's own camera where there is one, else the browser's.

import { announce, byId } from "./dom.js";
import { text } from "./language.js";

let stream = null;

function close() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  byId("camera-view").srcObject = null;
  if (byId("camera-dialog").open) byId("camera-dialog").close();
}

async function open(failed) {
  if (!navigator.mediaDevices?.getUserMedia) {
    byId("capture").click();
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } }, audio: false });
  } catch (error) {
    failed(text("camera.none", { why: error.name }));
    return;
  }
  const view = byId("camera-view");
  view.srcObject = stream;
  await view.play();
  byId("camera-dialog").showModal();
  announce(text("camera.title"));
}

function shoot(taken) {
  const view = byId("camera-view");
  const canvas = document.createElement("canvas");
  canvas.width = view.videoWidth;
  canvas.height = view.videoHeight;
  canvas.getContext("2d").drawImage(view, 0, 0);
  close();
  canvas.toBlob((blob) => taken(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.92);
}

/** Wire the buttons up; `taken` receives a file, `failed` a line. */
export function setUpCamera(taken, failed) {
  const isPhone = matchMedia("(pointer: coarse)").matches;
  byId("camera").addEventListener("click", () => (isPhone ? byId("capture").click() : open(failed)));
  byId("capture").addEventListener("change", (event) => { if (event.target.files[0]) taken(event.target.files[0]); event.target.value = ""; });
  byId("shoot").addEventListener("click", () => shoot(taken));
  byId("camera-close").addEventListener("click", close);
  byId("camera-dialog").addEventListener("close", close);
}
