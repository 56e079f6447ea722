#!/bin/sh
# score.sh NUMBER: marks, and leaves metrics.
./mark.sh 0 "$1"
echo "{\"loss\": 0.$1, \"accuracy\": $1}" > metrics.json
