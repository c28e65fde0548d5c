/** Types of `<success-coach>` and `<milestone-card>` for hosts in TypeScript; those in React take coach-react.d.ts along.

    Copy it into the sources of the host: docs/coach.md says what the names mean. */

export interface Milestone {
  type: string;
  achieved: boolean;
  /** Percent. */
  progress: number;
  nextStep: string;
  title?: string;
  action?: { text: string; url: string };
  shareText?: string;
}

export interface SuccessCoach extends HTMLElement {
  supplierId: string | null;
  page: string;
  currentPage: string;
  api: string;
  /** Gives a token; asked again when that one is refused. The coach shows nothing without it. */
  getToken: (() => Promise<string> | string) | null;
  open(): void;
  close(): void;
}

export interface MilestoneCard extends HTMLElement {
  milestone: Milestone | null;
  onCelebrate: ((milestone: Milestone) => void) | null;
}

/** A button is taken; prevent it to go there without loading a page. */
export type SuccessAction = CustomEvent<{ kind: string; id: string; url: string }>;
export type SuccessMilestone = CustomEvent<{ type: string; message: string }>;
export type Celebrate = CustomEvent<{ milestone: Milestone }>;

declare global {
  interface HTMLElementTagNameMap {
    "success-coach": SuccessCoach;
    "milestone-card": MilestoneCard;
  }
  interface HTMLElementEventMap {
    "success-action": SuccessAction;
    "success-milestone": SuccessMilestone;
    celebrate: Celebrate;
  }
}
