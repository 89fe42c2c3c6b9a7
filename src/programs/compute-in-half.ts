import type { Site } from "../analysis/site-types.ts";
import { UsageError } from "../errors.ts";
import type { Value } from "../graph/node.ts";
import type { Pass } from "../passes/pass.ts";
import { mixedPrecision } from "../passes/training/mixed-precision.ts";
import type { PreparedGraph } from "./prepared-graph.ts";

/**
 * Computes products in half precision.
 * @param run - applies a pass to the graph
 * @returns the layers, with their responses in float32
 * @throws UsageError when the model has no such product, or float64 parameters
 */
export async function sitesBesideHalf(
  { parameters, sites }: Pick<PreparedGraph, "parameters" | "sites">,
  { type, masks }: { readonly type: "float16" | "bfloat16"; readonly masks: readonly Value[] },
  run: <R>(pass: Pass<R>) => Promise<R>,
): Promise<Site[]> {
  const double = parameters.find((value) => value.type === "double");
  if (double) {
    throw new UsageError(
      `mixed precision is for float32 and float16 models: the parameter "${double.name}" is float64; leave precision (--precision) out`,
    );
  }
  const moved = await run(mixedPrecision({ type, parameters, masks }));
  if (moved.size === 0) {
    throw new UsageError(
      `mixed precision would have no effect: ${type} is for MatMul and Gemm${type === "float16" ? ", Conv and ConvTranspose" : ""} of float32 numbers, and the model has none; leave precision (--precision) out`,
    );
  }
  return sites.map((site) => ({ ...site, response: moved.get(site.response) ?? site.response }));
}
