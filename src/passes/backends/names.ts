/** Where graphs run, as people write it, by the name that `--backend` takes. */
export const backendTitles = { cpu: "CPU", cuda: "CUDA", wasm: "WebAssembly", webgpu: "WebGPU" } as const;

/** A backend by name. */
export type BackendName = keyof typeof backendTitles;

/** Backends in node, the usual one first. */
export const nodeBackends = ["cpu", "cuda", "webgpu"] as const satisfies readonly BackendName[];

/** Backends in a browser, the usual one first. */
export const webBackends = ["wasm", "webgpu"] as const satisfies readonly BackendName[];
