/** What `<success-coach>` and `<milestone-card>` take in React's JSX; with coach.d.ts beside it, and `@types/react`. */

import type {} from "react";
import type { Milestone, MilestoneCard, SuccessCoach } from "./coach";

interface CoachAttributes {
  supplierId?: string;
  "supplier-id"?: string;
  page?: string;
  currentPage?: string;
  api?: string;
  theme?: "light" | "dark";
  hidden?: boolean;
  class?: string;
  className?: string;
  ref?: ((coach: SuccessCoach | null) => void) | { current: SuccessCoach | null };
}

interface CardAttributes {
  milestone?: Milestone | string;
  theme?: "light" | "dark";
  hidden?: boolean;
  class?: string;
  className?: string;
  ref?: ((card: MilestoneCard | null) => void) | { current: MilestoneCard | null };
}

export interface CoachElements {
  "success-coach": CoachAttributes;
  "milestone-card": CardAttributes;
}

// React 18
declare global {
  namespace JSX {
    interface IntrinsicElements extends CoachElements {}
  }
}

// React 19
declare module "react" {
  namespace JSX {
    interface IntrinsicElements extends CoachElements {}
  }
}
