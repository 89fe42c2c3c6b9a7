import { conversionOf, type DataConversion } from "../data/conversion.ts";
import { UsageError } from "../errors.ts";
import type { Model } from "../index.ts";

/**
 * Refuses a teacher that was trained on data converted otherwise than those of a run, because both read the same numbers. How
 * pixels are scaled is checked by the trainer.
 * @param record - of the run's data
 * @throws UsageError
 */
export function checkTaughtData(teacher: Model | undefined, record: DataConversion): void {
  const before = teacher && conversionOf(teacher);
  if (!before) return;
  if (before.classes && record.classes && before.classes.join("\n") !== record.classes.join("\n")) {
    throw new UsageError(
      `the teacher's classes are ${before.classes.join(", ")}, and those of the data ${record.classes.join(", ")}: scores of one would be compared with those of another; use data with the teacher's classes`,
    );
  }
  const columns = ({ table }: DataConversion) => table?.inputs.map((input) => input.columns);
  const [own, other] = [columns(before), columns(record)];
  if (!own || !other || JSON.stringify(own) === JSON.stringify(other)) return;
  const all = own.flat();
  const odd = other.flat().find((column, i) => JSON.stringify(column) !== JSON.stringify(all[i]));
  throw new UsageError(
    `the teacher was trained on a table whose columns were converted otherwise${odd ? ` ("${odd.name}")` : ""}: train it and this model on the same table with the same flags, since both read the same numbers`,
  );
}
