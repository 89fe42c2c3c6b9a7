// The penalties that act on the layers of any model, except som, which is the default.
export { barlow } from "./responses/barlow.ts";
export { decov } from "./responses/decov.ts";
export { vicreg } from "./responses/vicreg.ts";
export { biggan } from "./weights/biggan.ts";
export { dso } from "./weights/dso.ts";
export { type KerasOptions, keras } from "./weights/keras.ts";
export { lorth } from "./weights/lorth.ts";
export { mc } from "./weights/mc.ts";
export { type MheOptions, mhe } from "./weights/mhe.ts";
export { mma } from "./weights/mma.ts";
export { type OcnnOptions, ocnn } from "./weights/ocnn.ts";
export { so } from "./weights/so.ts";
export { type SpectralSoOptions, spectralSo } from "./weights/spectral-so.ts";
export { type SripOptions, srip } from "./weights/srip.ts";
