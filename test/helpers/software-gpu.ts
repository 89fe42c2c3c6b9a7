import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { InferenceSession } from "onnxruntime-node";
import { afterAll, beforeAll } from "vitest";
import { addition } from "./addition.ts";

/** Folders in which Debian and other systems install Chromium's software GPU (SwiftShader). */
const places = [
  "/usr/lib/chromium",
  "/usr/lib64/chromium-browser",
  "/opt/google/chrome",
  "/snap/chromium/current/usr/lib/chromium-browser",
];
const loaders = [
  "/usr/lib/x86_64-linux-gnu/libvulkan.so.1",
  "/usr/lib64/libvulkan.so.1",
  "/usr/lib/libvulkan.so.1",
];

/**
 * Makes a GPU visible to onnxruntime-node's WebGPU: a real one if VK_DRIVER_FILES or SORTH_GPU is set, else Chromium's
 * software GPU. Call it before the first WebGPU session of the process.
 * @returns the reason why there is none, or ""
 */
export function useGpu(): string {
  if (process.platform !== "linux" || process.env.SORTH_GPU || process.env.VK_DRIVER_FILES) return "";
  if (!loaders.some((path) => existsSync(path)))
    return "no Vulkan loader is installed (apt-get install libvulkan1)";
  const driver = places.map((folder) => `${folder}/vk_swiftshader_icd.json`).find((path) => existsSync(path));
  if (!driver) return "no software GPU is installed (apt-get install chromium)";
  process.env.VK_DRIVER_FILES = driver;
  process.env.XDG_RUNTIME_DIR ??= tmpdir();
  return "";
}

/**
 * Keeps the device open for all tests of a file. ONNX Runtime drops the device, and with it every shader that it compiled,
 * when the last session is released; a software GPU compiles for most of a test's time.
 * @param missing - from {@link useGpu}
 */
export function keepDevice(missing: string): void {
  let keeper: InferenceSession | undefined;
  beforeAll(async () => {
    if (missing !== "") return;
    keeper = await InferenceSession.create(addition(), {
      executionProviders: ["webgpu"],
      logSeverityLevel: 4,
    });
  });
  afterAll(() => keeper?.release());
}
