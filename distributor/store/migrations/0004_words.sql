-- The words that the operator wrote for vendor and class; NULL for a UUID. The mirrors are read anew.

ALTER TABLE agents ADD COLUMN vendor_word TEXT;
ALTER TABLE agents ADD COLUMN class_word TEXT;

DELETE FROM mirrors;
