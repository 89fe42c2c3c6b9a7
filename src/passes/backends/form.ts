import type { Probe } from "../../analysis/probe.ts";
import type { Pass } from "../pass.ts";
import type { BackendName } from "./names.ts";

/** A form that some backends get instead of the portable one, in which gradients are written. */
export interface Form {
  readonly name: string;
  readonly backends: readonly BackendName[];
  /** `replaced → replacement`, in words. */
  readonly change: string;
  /** The measurement or the fault behind it. */
  readonly why: string;
  /** The pass that brings a finished graph into the form; undefined if this machine does not use it. Absent if the Trainer applies the form. */
  readonly pass?: (probe: Probe, backend: BackendName) => Promise<Pass<unknown> | undefined>;
}
