"""What happened, on disk: the schema, the writer, the reader, the export."""
