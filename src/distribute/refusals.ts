import { UsageError } from "../errors.ts";
import { figureName } from "../metrics/table.ts";
import { count } from "../numbers.ts";
import { resolvePlans } from "../penalties/plan.ts";
import type { Trainer } from "../runtime/trainer.ts";

/** @throws UsageError for a batch that is no multiple of the number of shards */
export function checkShards(batch: number, shards: number): void {
  if (!count.holds(shards)) {
    throw new UsageError(`the number of workers must be ${count.words}, not ${shards}`);
  }
  if (batch % shards === 0) return;
  const [below, above] = [Math.floor(batch / shards) * shards, Math.ceil(batch / shards) * shards];
  const nearest = [...(below > 0 ? [below] : []), above].join(" or ");
  throw new UsageError(
    `a batch of ${batch} cannot be cut into ${shards} equal parts: give --batch ${nearest}, or another number of --workers`,
  );
}

/** @throws UsageError for what only JavaScript can compute, for a weight that is yet to be chosen, and for buckets of texts */
export function refuseFunctions({
  schedule,
  penaltySchedule,
  penalties,
  metrics,
  penaltyShare,
  buckets,
}: Trainer["options"]): void {
  const timed = resolvePlans(penalties ?? []).plans.some((plan) => typeof plan.schedule === "function");
  if (typeof schedule === "function" || typeof penaltySchedule === "function" || timed) {
    throw new UsageError(
      "a schedule that is a function cannot be distributed: give it as text, as in cosine:warmup=100",
    );
  }
  const own = metrics?.find((metric) => typeof metric !== "string");
  if (own !== undefined) {
    throw new UsageError(
      `the metric "${figureName(own)}" is your own, in JavaScript, which workers cannot run: leave it out (--metrics), and compute it with sorth-onnx evaluate`,
    );
  }
  if (buckets !== undefined) {
    throw new UsageError(
      "workers give every batch the whole length: leave buckets out (--buckets), or train on one machine",
    );
  }
  if (penaltyShare !== undefined) {
    throw new UsageError(
      "workers do not choose the penalty's weight: leave --share out, and give the weight that one machine chooses (train --share … --max-steps 1 tells it)",
    );
  }
}
