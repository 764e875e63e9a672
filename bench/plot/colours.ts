// Colours of the plots; red and green are told apart by lightness, too.
import type { Outcome } from "../support/goals.js";

export const INK = "#1f2430";
export const FAINT = "#6b7280";
export const RULE = "#d6dae1";
export const OURS = "#1d5fbf";
export const OTHERS = "#9aa5b5";

export const OF_OUTCOME: Record<Outcome, string> = {
  aim: "#1c7c4a",
  least: "#5aa9e6",
  missed: "#c43b2e",
  "not measured": "#b9bfc9",
};
