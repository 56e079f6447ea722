#!/bin/sh
# mark.sh SECONDS WORD…: tells the witness, a file outside of all storage, that it begins and that it ends.
seconds=$1
shift
echo "$$ begun $*" >> "$BENCHMARK_WITNESS"
[ "$seconds" = 0 ] || sleep "$seconds"
echo "$$ ended $*" >> "$BENCHMARK_WITNESS"
