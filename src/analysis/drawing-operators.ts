/** Operators that draw random numbers in every run; Dropout, which draws in its training form alone, is not among them. */
export const drawingOperators: ReadonlySet<string> = new Set([
  ...["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"],
  ...["Bernoulli", "Multinomial"],
]);
