import { messageOf, RuntimeError } from "../errors.ts";

type OrtNode = typeof import("onnxruntime-node");

/**
 * onnxruntime-node, loaded when the first session is opened: it is an optional peer dependency, and features without a
 * session run without it.
 * @throws SorthError with what to do, where it is not installed or its libraries do not load
 */
export async function ortNode(): Promise<OrtNode> {
  try {
    return await import("onnxruntime-node");
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
