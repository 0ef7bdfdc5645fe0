#!/bin/sh
# The compiler, as `cargo xtask mcu` has cargo call it. Cargo hashes the folder of each package of this
# repository into -C metadata, and from there it gets into the names of functions, their order and the bytes of
# an image. Here such a package has a name that is the same in any folder. No board builds one of them twice.
# The folder of what a build script has written has such a hash in its name too.
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
