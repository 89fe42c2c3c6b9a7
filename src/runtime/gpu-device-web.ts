import { env, InferenceSession } from "onnxruntime-web/webgpu";
import { DeviceError } from "../errors.ts";
import { startWithin } from "./start-web.ts";

/** The parts of the WebGPU API used here, which TypeScript's own library does not declare. */
interface GpuDevice {
  readonly lost: Promise<{ readonly reason: string; readonly message: string }>;
}

/** The device of the page's sessions. ONNX Runtime creates it with the first session and destroys it with the last. */
interface WatchedDevice {
  readonly device: GpuDevice;
  /** Who is told when the device is lost while sessions use it. */
  readonly waiting: Set<(error: DeviceError) => void>;
  isLost: boolean;
  reason: string;
  sessions: number;
}
let watched: WatchedDevice | undefined;
/** The session that is being opened: once it is, ONNX Runtime forgets the files of every other one too. */
let opening: Promise<unknown> = Promise.resolve();

/**
 * Opens a session.
 * @throws SorthError after the device was lost, because ONNX Runtime then still waits for the device, on whichever backend
 * the session runs; and when ONNX Runtime does not start in this page
 */
export async function create(
  model: Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  if (watched?.isLost) throw lostError("");
  const { externalData } = options;
  const open = () => InferenceSession.create(model, options);
  const opened = opening.then(async () =>
    externalData ? (await import("./session-files-web.ts")).openMounted(open, externalData) : open(),
  );
  opening = opened.catch(() => {});
  return startWithin(opened);
}

/**
 * Opens a session whose runs fail when the device is lost (a driver reset, a removed GPU). Without this, ONNX Runtime's own
 * runs would never return.
 */
export async function createOnDevice(
  model: Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  const session = await create(model, options);
  const device = (await env.webgpu.device) as unknown as GpuDevice;
  if (watched?.device !== device) watched = watch(device);
  const own = watched;
  own.sessions += 1;
  return new Proxy(session, {
    get(target, key) {
      if (key === "run") {
        return (...args: Parameters<InferenceSession["run"]>) => untilLost(own, () => target.run(...args));
      }
      if (key === "release") {
        return async () => {
          own.sessions -= 1;
          // Losing the device has already freed the session's memory.
          if (!own.isLost) await target.release();
        };
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/**
 * Runs, and fails when the device is lost. Nothing of a run is kept once it has ended: Promise.race with one promise of the
 * device would keep the results of every run as long as the device.
 */
async function untilLost<Result>(own: WatchedDevice, run: () => Promise<Result>): Promise<Result> {
  if (own.isLost) throw lostError(own.reason);
  let tell: ((error: DeviceError) => void) | undefined;
  try {
    return await new Promise<Result>((resolve, reject) => {
      tell = reject;
      own.waiting.add(reject);
      run().then(resolve, reject);
    });
  } finally {
    if (tell) own.waiting.delete(tell);
  }
}

function watch(device: GpuDevice): WatchedDevice {
  const state: WatchedDevice = { device, waiting: new Set(), isLost: false, reason: "", sessions: 0 };
  void device.lost.then(({ message }) => {
    if (state.sessions === 0) return;
    state.isLost = true;
    state.reason = message.replace(/\s+/g, " ").trim();
    for (const tell of state.waiting) tell(lostError(state.reason));
  });
  return state;
}

const lostError = (reason: string) =>
  new DeviceError(
    `the GPU device was lost${reason ? ` (${reason})` : ""}, and with it what was trained since the last checkpoint; reload the page and go on from there, or train on wasm`,
  );

/** Calls back with the reason when the device of the currently open sessions is lost. */
export function onDeviceLost(tell: (reason: string) => void): void {
  const own = watched;
  if (own?.isLost) tell(own.reason);
  else own?.waiting.add(() => tell(own.reason));
}

/** Why the browser offers no WebGPU; undefined where it does. */
export async function missingWebGpu(): Promise<string | undefined> {
  const { gpu } = navigator as Navigator & { gpu?: { requestAdapter(): Promise<object | null> } };
  if (!gpu) {
    return globalThis.isSecureContext
      ? "this browser has no WebGPU"
      : "browsers give WebGPU to pages of https and localhost only";
  }
  const adapter = await gpu.requestAdapter().catch(() => null);
  return adapter
    ? undefined
    : "the browser gives no WebGPU adapter: its GPU is not supported, or blocked (see its page about the GPU)";
}

/** @throws DeviceError with what to do, where the browser offers no WebGPU */
export async function checkDevice(): Promise<void> {
  if (watched?.isLost) throw lostError("");
  const missing = await missingWebGpu();
  if (missing !== undefined) throw new DeviceError(`${missing}; train on wasm instead`);
}
