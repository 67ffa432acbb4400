// The worker that answers, one question at a time; a dead one is replaced.

/** Longer than any honest shader takes. */
const PATIENCE_MS = 20_000;

export class Auditor {
  #worker;
  #next = 0;
  /** The question that the worker is at. */
  #asked;
  /** The question to ask after it: a newer one takes its place. */
  #waiting;
  #timer;
  #failed;

  constructor() {
    this.#start();
  }

  #start() {
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    this.#worker.onerror = (event) => this.#die(`The analyser stopped: ${event.message ?? "its worker could not start"}.`);
  }

  /** Answers a question, or null where a newer one took its place. */
  ask(question) {
    if (this.#failed) return Promise.resolve({ error: this.#failed });
    return new Promise((resolve) => {
      this.#waiting?.resolve(null);
      this.#waiting = { question, resolve };
      this.#go();
    });
  }

  #go() {
    if (this.#asked || !this.#waiting) return;
    this.#asked = { ...this.#waiting, id: ++this.#next };
    this.#waiting = undefined;
    this.#worker.postMessage({ ...this.#asked.question, id: this.#asked.id });
    this.#timer = setTimeout(() => this.#die(`The analyser took more than ${PATIENCE_MS / 1000} seconds.`), PATIENCE_MS);
  }

  #hear(data) {
    if (data.ready) return;
    if (data.failed) {
      this.#failed = data.failed;
      return this.#end({ error: data.failed });
    }
    if (data.id !== this.#asked?.id) return;
    if (data.crash) return this.#die(`${data.crash}.`);
    this.#end(data);
  }

  #end(answer) {
    clearTimeout(this.#timer);
    const asked = this.#asked;
    this.#asked = undefined;
    // What was asked meanwhile is newer.
    asked?.resolve(this.#waiting ? null : answer);
    this.#go();
  }

  #die(crash) {
    this.#worker.terminate();
    this.#start();
    this.#end({ crash });
  }
}
