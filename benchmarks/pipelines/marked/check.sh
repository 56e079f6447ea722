#!/bin/sh
# check.sh NAME NUMBER: fails for 7 numbers of a hundred, until a file beside the witness says that all is mended.
./mark.sh 0 "$@"
[ $(($2 % 14)) -ne 5 ] || [ -e "$BENCHMARK_WITNESS.mended" ]
