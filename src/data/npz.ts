import { unzipSync } from "fflate";
import { messageOf, SorthError } from "../errors.ts";
import { arrayDataset } from "./array-dataset.ts";
import type { Dataset, SplitData } from "./dataset.ts";
import { type NpyArray, parseNpy } from "./npy.ts";

const wanted = ["x", "y", "x_test", "y_test"];

/**
 * The data of an `.npz` archive with the arrays x and y, and x_test and y_test where there is a test split. The first
 * axis counts samples. Integer y are class labels, float y are targets; x is taken as it is, bytes too.
 * @param name - where the bytes come from, for messages
 * @throws SorthError when the archive cannot be read, an array is missing, or x and y do not fit each other.
 *
 * @example
 * // Python: np.savez_compressed("data.npz", x=images.astype("float32"), y=labels)
 * const { train } = parseNpz(bytes, "data.npz");
 */
export function parseNpz(bytes: Uint8Array, name: string): SplitData {
  const { arrays, others } = readArchive(bytes, name);
  const train = datasetOf(arrays, "x", "y", name, others);
  const hasTest = arrays.has("x_test") || arrays.has("y_test");
  const test = hasTest ? datasetOf(arrays, "x_test", "y_test", `${name} (test)`, others) : undefined;
  if (test && test.x.shape.join() !== train.x.shape.join()) {
    throw new SorthError(
      `${name}: samples of x have shape [${train.x.shape.join(", ")}], but those of x_test [${test.x.shape.join(", ")}]`,
    );
  }
  return { train, test };
}

function readArchive(bytes: Uint8Array, name: string): { arrays: Map<string, NpyArray>; others: string[] } {
  const others: string[] = [];
  let files: Record<string, Uint8Array>;
  try {
    files = unzipSync(bytes, {
      filter: (file) => {
        const array = file.name.replace(/\.npy$/, "");
        if (wanted.includes(array)) return true;
        others.push(array);
        return false;
      },
    });
  } catch (error) {
    throw new SorthError(`${name}: not an .npz archive, or a damaged one (${messageOf(error)})`);
  }
  const arrays = new Map(
    Object.entries(files).map(([file, content]) => {
      const array = file.replace(/\.npy$/, "");
      return [array, parseNpy(content, `${name}: ${array}`)];
    }),
  );
  return { arrays, others };
}

function datasetOf(
  arrays: ReadonlyMap<string, NpyArray>,
  xName: string,
  yName: string,
  name: string,
  others: readonly string[],
): Dataset {
  const [x, y] = [arrays.get(xName), arrays.get(yName)];
  if (!x || !y) {
    const held = JSON.stringify([...arrays.keys(), ...others]).slice(1, -1) || "nothing";
    throw new SorthError(
      `${name}: the archive has no array "${x ? yName : xName}" (it holds ${held}); save it with np.savez(file, x=…, y=…)`,
    );
  }
  const [count, yCount] = [x.shape[0], y.shape[0]];
  if (count === undefined || count !== yCount) {
    throw new SorthError(
      `${name}: ${xName} has shape [${x.shape.join(", ")}] and ${yName} [${y.shape.join(", ")}]; the first axis of both must count the samples`,
    );
  }
  return arrayDataset(x.data, y.data, x.shape.slice(1), { name, targetShape: y.shape.slice(1) });
}
