"""What is kept of a supplier beside messages: calls, consent, holds, the coach's memory, their rights."""
