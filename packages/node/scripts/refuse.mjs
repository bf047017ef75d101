// `npm pack` and `npm publish` would leave out the native half, which has its own packages.
console.error(`zraft-client cannot be packed from its sources: the native half would be missing.
  npm run pack                              builds both halves, and makes the two tarballs for this platform in release/
  node scripts/release.mjs ARTIFACTS OUT    makes the tarballs for all platforms, as the workflow "node packages" does`);
process.exitCode = 1;
