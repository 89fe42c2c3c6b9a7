import type { RuleTable } from "../rule.ts";

const steps = { constant: "its derivative is 0 wherever it exists" } as const;
const truths = { constant: "it makes truth values" } as const;
const integers = { constant: "it makes integers" } as const;
const indices = { constant: "it makes indices" } as const;
const bits = { constant: "it works on the bits of integers" } as const;
const filled = { constant: "its numbers depend on a shape alone" } as const;
const randomNumbers = { constant: "its random numbers do not depend on its inputs" } as const;
const window = { constant: "it depends on its length alone" } as const;
const text = { constant: "it works on text" } as const;

/** Operators through which no gradient passes. */
export const constants = {
  Ceil: steps,
  Floor: steps,
  Round: steps,
  Sign: steps,
  Hardmax: { constant: "it makes 0 and 1; its derivative is 0 wherever it exists" },

  And: truths,
  Equal: truths,
  Greater: truths,
  GreaterOrEqual: truths,
  IsInf: truths,
  IsNaN: truths,
  Less: truths,
  LessOrEqual: truths,
  Not: truths,
  Or: truths,
  Xor: truths,

  Shape: integers,
  Size: integers,
  ArgMax: indices,
  ArgMin: indices,
  NonMaxSuppression: indices,
  NonZero: indices,

  BitCast: { constant: "it reads the bits of its input as another type" },
  BitShift: bits,
  BitwiseAnd: bits,
  BitwiseNot: bits,
  BitwiseOr: bits,
  BitwiseXor: bits,

  Constant: { constant: "it has no inputs" },
  ConstantOfShape: filled,
  EyeLike: filled,
  Range: { refused: "the length of its output would depend on the differentiated values" },
  BlackmanWindow: window,
  HammingWindow: window,
  HannWindow: window,
  MelWeightMatrix: { constant: "it depends on counts and frequencies that are settings" },

  Bernoulli: { constant: "it draws 0 or 1; a draw has no derivative" },
  Multinomial: { constant: "it draws indices" },
  RandomNormal: randomNumbers,
  RandomNormalLike: randomNumbers,
  RandomUniform: randomNumbers,
  RandomUniformLike: randomNumbers,

  ImageDecoder: { constant: "it reads bytes of a file" },
  RegexFullMatch: text,
  StringConcat: text,
  StringNormalizer: text,
  StringSplit: text,
  TfIdfVectorizer: { constant: "it counts tokens" },
} satisfies RuleTable;
