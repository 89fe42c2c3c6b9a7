import type { Report, Request } from "../protocol.ts";
import { Desk } from "./desk.ts";
import { messageOf } from "./message-of.ts";
import { prepareRuntime } from "./runtime.ts";

/** The parts of a worker's global object that are used here. */
interface WorkerScope {
  postMessage(report: Report, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent<Request>) => void) | null;
  addEventListener(type: "unhandledrejection", listener: (event: PromiseRejectionEvent) => void): void;
}

const scope = globalThis as unknown as WorkerScope;
const tell = (report: Report): void =>
  scope.postMessage(report, report.type === "file" ? [report.bytes.buffer] : []);

prepareRuntime();
scope.addEventListener("unhandledrejection", ({ reason }) =>
  tell({ type: "broken", lost: false, message: messageOf(reason) }),
);
const desk = new Desk(tell);
scope.onmessage = ({ data }) => desk.take(data);
