// Training blocks the thread that it runs on: it has a worker of its own.
const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
worker.onmessage = ({ data }) => document.querySelector("#log").append(`${data}\n`);
worker.onerror = ({ message }) => document.querySelector("#log").append(`the worker stopped: ${message}\n`);
