#!/bin/sh
# Puts one version of an endpoint to 100 % by hand, for when Headgate is dead:
#
#   sh home.sh rag-chatbot-endpoint 6
#
# All other versions stay, at 0 %. Where entities of several models are served, a version is no name:
# give the name of the served entity in its place. Needs jq, and the Databricks CLI (0.205 or later) or curl with
# DATABRICKS_HOST and DATABRICKS_TOKEN. Databricks does not show variables that are plain text, and
# a change replaces them: if an entity has any, end after the first command, add them to home.json,
# and run the second one. Whoever lowers a version on trial has aborted it, as far as Headgate is
# concerned: on its return it rolls the release back, moves the alias back, and raises nothing.
set -eu
endpoint=${1:?name the endpoint} stable=${2:?name the version that is to have all users}
home='.config.served_entities as $all
  | [$all[] | select(.name == $v)] as $named | [$all[] | select(.entity_version == $v)] as $its
  | if $named + $its == [] then error("version \($v) is not served there")
    elif $named == [] and ([$all[].entity_name] | unique | length) > 1 then
      error("several models are served there: name one of \([$all[].name] | join(", "))")
    else . end
  | ($named + $its)[0].name as $stable
  | {served_entities: [$all[] | del(.state, .creator, .creation_timestamp, .foundation_model)
      | if .max_provisioned_concurrency then del(.workload_size) else . end],
     traffic_config: {routes: [$all[] | {served_entity_name: .name,
       traffic_percentage: (if .name == $stable then 100 else 0 end)}]}}'
if command -v databricks >/dev/null; then
  databricks serving-endpoints get "$endpoint" -o json | jq --arg v "$stable" "$home" >home.json
  databricks serving-endpoints update-config "$endpoint" --no-wait --json @home.json
else
  url=$DATABRICKS_HOST/api/2.0/serving-endpoints/$endpoint
  token="Authorization: Bearer $DATABRICKS_TOKEN"
  curl -sSf -H "$token" "$url" | jq --arg v "$stable" "$home" >home.json
  curl -sSf -X PUT -H "$token" -H "Content-Type: application/json" -d @home.json "$url/config"
fi
