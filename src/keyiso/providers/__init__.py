"""Key storage providers of keyiso's own."""
