"""From the bytes of a rules file to a document, with the place of everything."""
