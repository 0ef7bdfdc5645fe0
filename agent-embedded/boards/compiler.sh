#!/bin/sh
# The compiler, as `cargo xtask mcu` makes cargo call it. Cargo hashes the folder of each package of this
# repository into -C metadata. From there it reaches the names of functions, their order and the bytes of an
# image. This script gives each such package a name that is the same in any folder. No board builds a package
# twice. The folder with the output of a build script has such a hash in its name too.
for argument; do
    shift
    case $argument in
    metadata=*)
        case $CARGO_MANIFEST_DIR in
        "$FWCAST_ROOT"/*) argument=metadata=fwcast-$CARGO_PKG_NAME-$CARGO_CRATE_NAME ;;
        esac
        ;;
    esac
    set -- "$@" "$argument"
done
if [ -n "$OUT_DIR" ]; then
    set -- "$@" "--remap-path-prefix=$OUT_DIR=/built/build/$CARGO_PKG_NAME-$CARGO_PKG_VERSION/out"
fi
exec "$@"
