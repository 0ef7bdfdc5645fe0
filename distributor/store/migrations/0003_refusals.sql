-- Whether an order was refused is no longer read from the text of its outcome.

ALTER TABLE orders ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;

UPDATE orders SET refused = 1, outcome = substr(outcome, length('refused: ') + 1) WHERE outcome LIKE 'refused: %';
