// The JSON API, as docs/serve.md describes it.

const ROOT = "/api/v1";

/** A request that was refused, or could not be made. */
export class Refused extends Error {
  constructor(code, message, after = 0) {
    super(message);
    this.code = code;
    this.after = after;
  }
}

function refusal(status, body, after) {
  return new Refused(body?.code || (status === 404 ? "not_found" : "unexpected"), body?.message || `HTTP ${status}`, Number(after) || 5);
}

async function asked(path, options) {
  let response;
  try { response = await fetch(ROOT + path, { cache: "no-store", ...options }); } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("network", String(error));
  }
  if (response.status === 204) return null;
  const body = await response.json().catch(() => null);
  if (!response.ok) throw refusal(response.status, body, response.headers.get("Retry-After"));
  return body;
}

export const models = () => asked("/models");
export const job = (id, wait = 0) => asked(`/jobs/${encodeURIComponent(id)}?wait=${wait}`);
export const remove = (id) => asked(`/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
export const picture = (id, face, name) => `${ROOT}/jobs/${encodeURIComponent(id)}/faces/${face}/${name}`;

/** Send a file; fetch cannot say how much of it was sent, XMLHttpRequest can. `signal` aborts it. */
export function upload(file, model, sent, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const query = new URLSearchParams({ heat: "true", ...(model ? { model } : {}) });
    request.open("POST", `${ROOT}/jobs?${query}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => sent(event.loaded, event.total));
    request.addEventListener("load", () => {
      if (request.status === 202) resolve(request.response);
      else reject(refusal(request.status, request.response, request.getResponseHeader("Retry-After")));
    });
    request.addEventListener("error", () => reject(new Refused("network", "no connection")));
    request.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** Follow a job to its end; `stands` receives every change. */
export async function follow(id, stands, signal) {
  for (;;) {
    const now = await asked(`/jobs/${encodeURIComponent(id)}?wait=20`, { signal });
    stands(now);
    if (now.state === "done" || now.state === "failed") return now;
  }
}
