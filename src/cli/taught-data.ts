import { conversionOf, type DataConversion } from "../data/conversion.ts";
import type { ColumnConversion } from "../data/tables/conversion.ts";
import { shortList } from "../data/tables/dataset.ts";
import { UsageError } from "../errors.ts";
import type { Model } from "../index.ts";
import { objectiveText } from "../losses/objective-text.ts";
import { objectiveFromStored, type StoredObjective } from "../losses/stored.ts";

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
  const [own, other] = [columnsOf(before), columnsOf(record)];
  if (!own || !other || JSON.stringify(own) === JSON.stringify(other)) return;
  const [odd] = oddColumns(own, other);
  throw new UsageError(
    `the teacher was trained on a table whose columns were converted otherwise${odd ? ` ("${odd}")` : ""}: train it and this model on the same table with the same flags, since both read the same numbers`,
  );
}

const columnsOf = ({ table }: DataConversion) => table?.inputs.flatMap((input) => input.columns);

/** Names of columns that stand at another place or become other numbers. */
const oddColumns = (
  own: readonly ColumnConversion[],
  other: readonly ColumnConversion[],
): readonly string[] =>
  other.filter((column, i) => JSON.stringify(column) !== JSON.stringify(own[i])).map((column) => column.name);

/** Says that a run without --objective and --loss minimizes another loss than the one that trained its model. */
export function lossRemark(model: Model, record: DataConversion): string | undefined {
  const textOf = ({ objective, loss, ownLoss }: DataConversion) =>
    objective ? objectiveText(objectiveFromStored(objective as StoredObjective)) : (loss ?? ownLoss);
  const before = textOf(conversionOf(model) ?? { version: 1 });
  const now = textOf(record);
  if (before === undefined || before === now) return undefined;
  return `this run minimizes ${now ?? "another loss"}; the run that trained the model minimized ${before} (--objective, or --loss for an output of the model)`;
}

/**
 * What a new run converts otherwise than the run that trained its model did; undefined if nothing.
 * @param record - of the run's data
 */
export function conversionRemark(model: Model, record: DataConversion): string | undefined {
  const before = conversionOf(model);
  if (!before) return undefined;
  const differs = <T>(part: (one: DataConversion) => T | undefined): boolean => {
    const [own, other] = [part(before), part(record)];
    return own !== undefined && other !== undefined && JSON.stringify(own) !== JSON.stringify(other);
  };
  const columns = oddColumns(columnsOf(before) ?? [], (columnsOf(before) && columnsOf(record)) ?? []);
  const parts = [
    ...(columns.length > 0 ? [`columns ${shortList(columns)}`] : []),
    ...(differs(({ normalize }) => normalize) ? ["scaling of pixels (--normalize)"] : []),
    ...(differs(({ images }) => images?.fit) ? ["--resize"] : []),
    ...(differs(({ classes }) => classes)
      ? [`classes, which were ${shortList(before.classes ?? [])} and are ${shortList(record.classes ?? [])}`]
      : []),
  ];
  if (parts.length === 0) return undefined;
  return `this run converts data otherwise than the one that trained the model: ${parts.join("; ")} (--resume RUN --other-data goes on with the conversion of a run)`;
}
