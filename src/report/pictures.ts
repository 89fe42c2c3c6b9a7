/** Options of {@link weightAngles} and {@link responseAngles} that measure what a page draws: histograms and heat maps. */
export const pictures = { bins: 60, mapSize: 64 } as const;
