#!/bin/sh
# Submit a fine-tuning job with curl and follow its event stream:
#   HEADRACE_API_KEY=hr-… examples/submit_and_watch.sh examples/data/miller.jsonl
set -eu
file=${1:?name a JSON Lines file}
model=${2:-smollm2-135m-instruct}
url=${HEADRACE_API_URL:-http://127.0.0.1:8080}/v1
key="Authorization: Bearer ${HEADRACE_API_KEY:?make one with: headrace keys create NAME}"

# The first "id" of an object is its own; jq -r .id does the same where jq is installed.
id() { sed -n 's/.*"id":"\([^"]*\)".*/\1/p' | head -n 1; }

file_id=$(curl --fail-with-body -sS "$url/files" -H "$key" -F purpose=fine-tune -F "file=@$file" | id)
job_id=$(curl --fail-with-body -sS "$url/fine_tuning/jobs" -H "$key" -H 'Content-Type: application/json' \
    -d "{\"model\": \"$model\", \"training_file\": \"$file_id\", \"seed\": 7, \"validation_split\": 0.08}" \
    | sed 's/"object":"fine_tuning.job".*//' | id)
echo "$job_id"
curl -sSN "$url/fine_tuning/jobs/$job_id/events?stream=true" -H "$key" -H 'Accept: text/event-stream'
