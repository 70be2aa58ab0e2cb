"""Terms of objectives, as pure functions of shapes and images: reprojection, bones, low rank."""
