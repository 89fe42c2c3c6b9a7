import { env, InferenceSession } from "onnxruntime-web/webgpu";
import { DeviceError } from "../errors.ts";
import { startWithin } from "./start-web.ts";

/** What is used here of the WebGPU API, which TypeScript's own library does not declare. */
interface GpuDevice {
  readonly lost: Promise<{ readonly reason: string; readonly message: string }>;
}

/** The device of the page's sessions. ONNX Runtime makes one with the first session, and destroys it with the last. */
interface WatchedDevice {
  readonly device: GpuDevice;
  /** Never fulfilled; rejected when the device goes while sessions use it. */
  readonly lost: Promise<never>;
  isLost: boolean;
  sessions: number;
}
let watched: WatchedDevice | undefined;

/**
 * Opens a session.
 * @throws SorthError after the device was lost: ONNX Runtime still waits for it then, whatever the session is to run on; and
 * when ONNX Runtime does not start in this page
 */
export async function create(
  model: Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  if (watched?.isLost) throw lostError("");
  return startWithin(InferenceSession.create(model, options));
}

/**
 * Opens a session whose runs end when the device is lost (a driver reset, a GPU taken away): ONNX Runtime's own would wait
 * for ever.
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
        return (...args: Parameters<InferenceSession["run"]>) =>
          Promise.race([target.run(...args), own.lost]);
      }
      if (key === "release") {
        return async () => {
          own.sessions -= 1;
          // What a lost device holds is freed with it.
          if (!own.isLost) await target.release();
        };
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function watch(device: GpuDevice): WatchedDevice {
  const state: WatchedDevice = {
    ...{ device, isLost: false, sessions: 0 },
    lost: new Promise((_, reject) => {
      void device.lost.then(({ message }) => {
        if (state.sessions === 0) return;
        state.isLost = true;
        reject(lostError(message));
      });
    }),
  };
  // Heard by the runs that wait for it.
  state.lost.catch(() => {});
  return state;
}

const lostError = (message: string) =>
  new DeviceError(
    `the GPU device was lost${message ? ` (${message.replace(/\s+/g, " ").trim()})` : ""}, and with it what was trained since the last checkpoint; reload the page and go on from there, or train on wasm`,
  );

/** @throws SorthError where the browser gives no WebGPU, with what to do */
export async function checkDevice(): Promise<void> {
  if (watched?.isLost) throw lostError("");
  const { gpu } = navigator as Navigator & { gpu?: { requestAdapter(): Promise<object | null> } };
  if (!gpu) {
    throw new DeviceError(
      "this browser has no WebGPU, or gives it to pages of https and localhost only; train on wasm instead",
    );
  }
  if (!(await gpu.requestAdapter())) {
    throw new DeviceError(
      "the browser gives no WebGPU adapter: its GPU is not supported or blocked (see its page about the GPU); train on wasm instead",
    );
  }
}
