import { UsageError } from "../errors.ts";
import { isObject, whatIs } from "../what-is.ts";
import { Trainer } from "./trainer.ts";

/** @throws UsageError for what is no trainer, such as the promise of one */
export function checkTrainer(given: unknown): asserts given is Trainer {
  if (given instanceof Trainer || (isObject(given) && "readState" in given)) return;
  throw new UsageError(
    `a trainer is what Trainer.create gives (trainer = await Trainer.create(…)), not ${whatIs(given)}`,
  );
}
