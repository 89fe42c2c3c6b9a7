// Names that say nothing without the subject that they belong to. They have moved; the old exports stay until version 0.2.
import { subset as datasetSubset } from "./data/dataset.ts";
import { l1 as l1Loss } from "./losses/elementwise.ts";
import * as penalties from "./penalties/on-layers.ts";
import { anglePictures } from "./report/pictures.ts";
import { constant as constantSchedule } from "./schedules/constant.ts";
import { cosine as cosineSchedule } from "./schedules/cosine.ts";
import { sripSchedule as sripsSchedule } from "./schedules/srip.ts";
import { stepDecay as stepDecaySchedule } from "./schedules/step-decay.ts";
import { warmup as warmupSchedule } from "./schedules/warmup.ts";

/** @deprecated Import `l1` from `sorth-onnx/losses`; this export goes with 0.2. */
export const l1 = l1Loss;
/** @deprecated Import `barlow` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const barlow = penalties.barlow;
/** @deprecated Import `biggan` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const biggan = penalties.biggan;
/** @deprecated Import `decov` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const decov = penalties.decov;
/** @deprecated Import `dso` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const dso = penalties.dso;
/** @deprecated Import `keras` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const keras = penalties.keras;
/** @deprecated Import `lorth` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const lorth = penalties.lorth;
/** @deprecated Import `mc` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const mc = penalties.mc;
/** @deprecated Import `mhe` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const mhe = penalties.mhe;
/** @deprecated Import `mma` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const mma = penalties.mma;
/** @deprecated Import `ocnn` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const ocnn = penalties.ocnn;
/** @deprecated Import `so` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const so = penalties.so;
/** @deprecated Import `spectralSo` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const spectralSo = penalties.spectralSo;
/** @deprecated Import `srip` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const srip = penalties.srip;
/** @deprecated Import `vicreg` from `sorth-onnx/penalties`; this export goes with 0.2. */
export const vicreg = penalties.vicreg;
/** @deprecated Import `constant` from `sorth-onnx/schedules`; this export goes with 0.2. */
export const constant = constantSchedule;
/** @deprecated Import `cosine` from `sorth-onnx/schedules`; this export goes with 0.2. */
export const cosine = cosineSchedule;
/** @deprecated Import `sripSchedule` from `sorth-onnx/schedules`; this export goes with 0.2. */
export const sripSchedule = sripsSchedule;
/** @deprecated Import `stepDecay` from `sorth-onnx/schedules`; this export goes with 0.2. */
export const stepDecay = stepDecaySchedule;
/** @deprecated Import `warmup` from `sorth-onnx/schedules`; this export goes with 0.2. */
export const warmup = warmupSchedule;
/** @deprecated Import `datasetSubset`; this export goes with 0.2. */
export const subset = datasetSubset;
/** @deprecated Import `anglePictures`; this export goes with 0.2. */
export const pictures = anglePictures;
