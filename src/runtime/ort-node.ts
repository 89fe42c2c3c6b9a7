import { messageOf, RuntimeError } from "../errors.ts";

type OrtNode = typeof import("onnxruntime-node");

let isQuiet = false;

/**
 * Lets ONNX Runtime say nothing by itself in this process: what is wrong with a model is in our own messages, and its remarks on
 * kernels (`tf_half_pixel_for_nn is deprecated`) come at every session, whatever the session's options ask for. Before the first session.
 */
export function quietOrt(): void {
  isQuiet = true;
}

/**
 * onnxruntime-node, loaded when the first session is opened: it is an optional peer dependency, and features without a
 * session run without it.
 * @throws SorthError with what to do, where it is not installed or its libraries do not load
 */
export async function ortNode(): Promise<OrtNode> {
  try {
    const ort = await import("onnxruntime-node");
    if (isQuiet) ort.env.logLevel = "fatal";
    return ort;
  } catch (error) {
    throw new RuntimeError(loadFault(error));
  }
}

/** Why onnxruntime-node cannot be loaded, and what to do. */
export function loadFault(error: unknown): string {
  const message = messageOf(error).replace(/\s+/g, " ").trim();
  const { code } = (error ?? {}) as { code?: unknown };
  const missing =
    /MODULE_NOT_FOUND$/.test(String(code)) &&
    /onnxruntime-node/.test(message.split(" imported from ")[0] ?? "");
  if (missing && !/\.node\b/.test(message)) {
    return "onnxruntime-node, which does the computing in node, is not installed; run: npm install --ignore-scripts onnxruntime-node";
  }
  return `onnxruntime-node is installed and cannot be loaded (${message}); it has libraries for Linux with glibc, macOS and Windows: on one of them, install it again with npm install --ignore-scripts onnxruntime-node`;
}
