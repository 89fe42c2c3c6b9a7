import { SorthError } from "../../errors.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { RuleContext } from "../rule.ts";

/** One axis of the regions. */
interface RegionAxis {
  /** Column of rois that holds the region's beginning: x 0, y 1. Its end is two columns later. */
  readonly corner: 0 | 1;
  /** Elements of the image. */
  readonly length: number;
  /** Cells of the output. */
  readonly cells: number;
}

/**
 * RoiAlign's gradient of X. A cell is the mean of samples on a lattice, each interpolated linearly along both axes, so
 * Y[r] = A[r]·X[batch of r]·B[r]ᵀ, and dX[n] = Σ A[r]ᵀ·dY[r]·B[r] over the regions r of image n.
 */
export function roiAlignGradient(context: RuleContext, dy: Typed, g: Emit): Typed {
  const { node } = context;
  if (node.string("mode", "avg") !== "avg") {
    throw new SorthError(
      `cannot differentiate RoiAlign (node "${node.label}"): in mode "max" ONNX Runtime takes the largest of weighted ` +
        'corners, which does not interpolate; export it with mode "avg"',
    );
  }
  const { shape } = context.input(0);
  const [batch, channels, height, width] = shape as [number, number, number, number];
  const [regions, , cellRows, cellColumns] = dy.shape as [number, number, number, number];
  if (elementCount(dy.shape) === 0) return g.expand(g.reduceSum(dy), shape);
  const rows = cellWeights(context, g, { corner: 1, length: height, cells: cellRows });
  const columns = cellWeights(context, g, { corner: 0, length: width, cells: cellColumns });
  const spread = g.matMul(dy, g.reshape(columns, [regions, 1, cellColumns, width]));
  const spreadRows = g.reshape(g.transpose(spread, [0, 2, 1, 3]), [regions * cellRows, channels * width]);
  const ofImages = g.mul(
    g.reshape(g.transpose(rows, [2, 0, 1]), [1, height, regions, cellRows]),
    g.reshape(regionsOfImages(context, g, batch), [batch, 1, regions, 1]),
  );
  const sum = g.matMul(g.reshape(ofImages, [batch, height, regions * cellRows]), spreadRows);
  return g.transpose(g.reshape(sum, [batch, height, channels, width]), [0, 2, 1, 3]);
}

/** 1 where a region lies in an image: [batch, regions]. */
function regionsOfImages(context: RuleContext, g: Emit, batch: number): Typed {
  const images = g.reshape(g.iota(batch), [batch, 1]);
  return g.indicator(g.equal(images, g.cast(context.input(2), "int32")), context.input(0).type);
}

/** Weights of the image's elements in each cell along one axis: [regions, cells, length]. */
function cellWeights(context: RuleContext, g: Emit, { corner, length, cells }: RegionAxis): Typed {
  const { node } = context;
  const rois = context.input(1);
  const regions = dimAt(rois.shape, 0);
  const scale = node.float("spatial_scale", 1);
  const halfPixel = node.string("coordinate_transformation_mode", "half_pixel") === "half_pixel";
  const edge = (index: number) =>
    g.reshape(g.mul(g.slice(rois, [{ axis: 1, start: index, length: 1 }]), scale), [regions, 1, 1]);
  const start = g.sub(edge(corner), halfPixel ? 0.5 : 0);
  const extent = g.sub(edge(corner + 2), edge(corner));
  const size = halfPixel ? extent : g.max(extent, 1);

  const counts = sampleCounts(context, corner, cells);
  const most = Math.max(...counts);
  // The position of each sample, as a fraction of the region's size from its start, and the weight of each sample.
  checkStored(Math.max(length, counts.length * cells * most));
  const fractions = counts.flatMap((count) =>
    Array.from(
      { length: cells * most },
      (_, i) => (Math.floor(i / most) + ((i % most) + 0.5) / count) / cells,
    ),
  );
  const shares = counts.flatMap((count) =>
    Array.from({ length: cells * most }, (_, i) => (i % most < count ? 1 / count : 0)),
  );
  const samples = [regions, cells, most];
  const position = g.add(start, g.mul(size, g.numbers(fractions, samples, rois.type)));
  const inside = g.and(g.greaterOrEqual(position, -1), g.lessOrEqual(position, length));
  const share = g.mul(g.numbers(shares, samples, rois.type), g.indicator(inside, rois.type));

  const clamped = g.reshape(g.max(g.min(position, length - 1), 0), [...samples, 1]);
  const elements = g.numbers(allAxes(length), [length], rois.type);
  const weights = g.relu(g.sub(1, g.abs(g.sub(clamped, elements))));
  return g.reduceSum(g.mul(weights, g.reshape(share, [...samples, 1])), [2]);
}

/** Numbers of samples of a cell along one axis, for each region. With sampling_ratio 0, one sample per image element in the cell. */
function sampleCounts(context: RuleContext, corner: 0 | 1, cells: number): number[] {
  const { node } = context;
  const rois = context.input(1);
  const ratio = node.int("sampling_ratio", 0);
  if (ratio > 0) return new Array<number>(dimAt(rois.shape, 0)).fill(ratio);
  if (!rois.initializer) {
    throw new SorthError(
      `cannot differentiate RoiAlign (node "${node.label}"): with sampling_ratio 0 the number of samples depends on ` +
        `the computed regions "${rois.name}"; export it with a sampling_ratio above 0`,
    );
  }
  const values = rois.initializer.numbers();
  const float = Math.fround;
  const scale = float(node.float("spatial_scale", 1));
  const halfPixel = node.string("coordinate_transformation_mode", "half_pixel") === "half_pixel";
  return Array.from({ length: dimAt(rois.shape, 0) }, (_, r) => {
    const at = (index: number) => float(float(values[4 * r + index] ?? 0) * scale);
    const extent = float(at(corner + 2) - at(corner));
    return Math.max(1, Math.ceil(float((halfPixel ? extent : Math.max(extent, 1)) / cells)));
  });
}
