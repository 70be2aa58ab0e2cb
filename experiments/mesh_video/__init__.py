"""Moving meshes: rendered clips of templates with exact truth, a horse that walks, still horses by their masks."""
