/**
 * A client for ComfyUI, for Node.js and browsers, without dependencies.
 *
 * The history is the truth about a prompt. The WebSocket tells of progress, and when to look; where there is none, or it
 * is lost on the way, the client looks from time to time, and what comes out is the same.
 */

const LOOK_MS = { withSocket: 5000, withoutSocket: 200, atTheEnd: 20 };
const ENDS = ["execution_success", "execution_error", "execution_interrupted"];
const PREVIEW = 1;

/** The server has refused the prompt; `nodeErrors` says, by node id, why. */
export class PromptRejected extends Error {
  constructor({ error, node_errors: nodeErrors = {} }) {
    const details = Object.values(nodeErrors).flatMap((node) => node.errors.map((each) => each.details));
    super([error.message, ...details].join("\n"));
    Object.assign(this, { name: "PromptRejected", nodeErrors });
  }
}

/** A node has failed. */
export class ExecutionFailed extends Error {
  constructor({ node_id: nodeId, node_type: nodeType, exception_type: type, exception_message: message }) {
    super(`${nodeType}: ${message.trim()}`);
    Object.assign(this, { name: "ExecutionFailed", nodeId, nodeType, type });
  }
}

/** The prompt was interrupted, or the server has forgotten it in a restart. */
export class PromptGone extends Error {
  name = "PromptGone";
}

export class ComfyUI {
  #url;
  #WebSocket;

  /** `WebSocket: null` makes do without one. */
  constructor(url, { WebSocket = globalThis.WebSocket } = {}) {
    this.#url = url.replace(/\/$/, "");
    this.#WebSocket = WebSocket;
  }

  /**
   * Run a graph in API format, and return its outputs by node id. `onProgress({ node, value, max })` and
   * `onPreview(bytes)` are called where there is a WebSocket. Aborting the `signal` cancels it on the server, too.
   */
  async run(graph, { onProgress = () => {}, onPreview = () => {}, signal } = {}) {
    signal?.throwIfAborted();
    const clientId = crypto.randomUUID();
    const news = new News(signal);
    const socket = await this.#connect(clientId, { news, onProgress, onPreview }); // first, so as to miss nothing
    try {
      const { prompt_id: id } = await this.#post("/prompt", { prompt: graph, client_id: clientId });
      try {
        return await this.#ended(id, news);
      } catch (error) {
        if (signal?.aborted) await this.#post(`/api/jobs/${id}/cancel`);
        throw error;
      }
    } finally {
      socket?.close();
    }
  }

  /** The content of a file: `{ filename, subfolder, type }`, as outputs have it. */
  async file(item) {
    return new Uint8Array(await (await this.#fetch(`/view?${new URLSearchParams(item)}`)).arrayBuffer());
  }

  /** Put a picture into the input folder; returns what LoadImage takes for it. */
  async upload(filename, bytes) {
    const body = new FormData();
    body.append("image", new Blob([bytes]), filename);
    const { name, subfolder } = await (await this.#fetch("/upload/image", { method: "POST", body })).json();
    return subfolder ? `${subfolder}/${name}` : name;
  }

  async #ended(id, news) {
    for (;;) {
      // In this order: a prompt leaves the queue when the history has it, never before.
      const queue = await this.#get("/queue");
      const { [id]: entry } = await this.#get(`/history/${id}`);
      if (entry) return outputsOf(entry);
      const known = [...queue.queue_running, ...queue.queue_pending].some(([, each]) => each === id);
      if (!known) throw new PromptGone(`prompt ${id} is neither in the queue nor in the history`);
      await news.wait();
    }
  }

  #connect(clientId, { news, onProgress, onPreview }) {
    if (!this.#WebSocket) return null;
    const socket = new this.#WebSocket(`${this.#url.replace(/^http/, "ws")}/ws?clientId=${clientId}`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data: message }) => {
      if (typeof message !== "string") {
        if (new DataView(message).getUint32(0) === PREVIEW) onPreview(new Uint8Array(message, 8));
        return;
      }
      const { type, data } = JSON.parse(message);
      if (type === "progress") onProgress({ node: data.node, value: data.value, max: data.max });
      if (ENDS.includes(type)) news.end();
    };
    return new Promise((resolve) => {
      socket.onopen = () => {
        news.comesBySocket = true;
        resolve(socket);
      };
      socket.onclose = socket.onerror = () => {
        news.comesBySocket = false;
        news.tell();
        resolve(null);
      };
    });
  }

  async #get(path) {
    return (await this.#fetch(path)).json();
  }

  async #post(path, document = {}) {
    const headers = { "Content-Type": "application/json" };
    return (await this.#fetch(path, { method: "POST", headers, body: JSON.stringify(document) })).json();
  }

  async #fetch(path, options) {
    const response = await fetch(this.#url + path, options);
    if (response.ok) return response;
    const text = await response.text();
    if (path === "/prompt" && response.status === 400) throw new PromptRejected(JSON.parse(text));
    throw new Error(`${path} was answered ${response.status}: ${text}`);
  }
}

/** When to look at the history again. */
class News {
  comesBySocket = false;
  #signal;
  #ended = false;
  #wake = () => {};

  constructor(signal) {
    this.#signal = signal;
    signal?.addEventListener("abort", () => this.tell(), { once: true });
  }

  tell() {
    this.#wake();
  }

  /** The socket has told the end: the history will have it in a moment. */
  end() {
    this.#ended = true;
    this.tell();
  }

  async wait() {
    const pause = this.#ended ? "atTheEnd" : this.comesBySocket ? "withSocket" : "withoutSocket";
    let timer;
    await new Promise((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, LOOK_MS[pause]);
      if (this.#signal?.aborted) resolve();
    });
    clearTimeout(timer);
    this.#signal?.throwIfAborted();
  }
}

function outputsOf({ outputs, status }) {
  const said = Object.fromEntries(status.messages);
  if (said.execution_error) throw new ExecutionFailed(said.execution_error);
  if (said.execution_interrupted) throw new PromptGone("the prompt was interrupted");
  return outputs;
}
