/** A learning rate with two digits, as `--lr` takes it: 0.0021, 3.2e-7; "none" for a missing one. */
export const rateText = (rate: number | undefined): string =>
  rate === undefined ? "none" : `${Number(rate.toPrecision(2))}`;
