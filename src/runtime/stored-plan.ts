import { type DataIdentity, identityOf } from "../data/checksum.ts";
import type { Dataset } from "../data/dataset.ts";
import { FileError, UsageError } from "../errors.ts";
import { parsedJson } from "../json.ts";
import { count, notNegative } from "../numbers.ts";
import type { FitOptions, FitPlan } from "./fit-plan.ts";

/** @throws UsageError for data that differ from those of the resumed run */
export function checkSameData(dataset: Dataset, validation: FitOptions["validation"], stored: FitPlan): void {
  checkIdentity(dataset, stored.data, "trained");
  const before = stored.validation ?? 0;
  if (typeof before === "number") {
    if (validation === undefined || validation === before) return;
    const now = typeof validation === "number" ? `${validation}` : `"${validation.name}"`;
    throw new UsageError(
      `the run was begun with ${before === 0 ? "no samples" : `a share of ${before} of the samples`} held out for validation, not with ${now}: leave validation out to go on as it was, or set otherData (--other-data)`,
    );
  }
  if (validation === undefined || typeof validation === "number") {
    throw new UsageError(
      `the run was validated on data of its own, "${before.name}" (${before.samples} samples): give it again as validation, or set otherData (--other-data)`,
    );
  }
  checkIdentity(validation, before, "validated");
}

function checkIdentity(dataset: Dataset, before: DataIdentity, verb: string): void {
  const now = identityOf(dataset, before.checksum);
  if (now.checksum === before.checksum && now.samples === before.samples) return;
  throw new UsageError(
    `the run was ${verb} on other data: "${before.name}" with ${before.samples} samples (checksum ${before.checksum}), and "${now.name}" has ${now.samples} (${now.checksum}); give the same data, or set otherData (--other-data) to go on with these`,
  );
}

/** Reads a plan. @throws SorthError where it is damaged */
export function planFromText(text: string, where: string): FitPlan {
  const plan = parsedJson(text) as FitPlan;
  const isIdentity = (value: unknown): boolean => {
    const { checksum, samples } = (value ?? {}) as Partial<DataIdentity>;
    return typeof checksum === "string" && count.holds(samples ?? 0);
  };
  const { epochs, maxSteps = 1, data, validation = 0, keep = 1, earlyStop } = plan ?? {};
  const holds =
    [epochs, maxSteps, keep, earlyStop?.patience ?? 1].every(count.holds) &&
    isIdentity(data) &&
    (typeof validation === "number"
      ? notNegative.holds(validation) && validation < 1
      : isIdentity(validation));
  if (!holds) throw new FileError(`${where} is damaged: it does not say how the run was fitted`);
  return plan;
}
