-- An endpoint's traffic by day and version, of an AI Gateway inference table.
--
-- `headgate report APP` runs this very text. To run it by hand, paste it into Databricks' SQL
-- editor, and give it these parameters:
--
--   :table     STRING  the inference table, catalog.schema.name
--   :endpoint  STRING  the serving endpoint whose table it is
--   :days      INT     how many days, by UTC; the last of them is today, as far as it has come
--   :tokens    STRING  where a response has its tokens, such as $.usage.total_tokens; NULL: nowhere
--
-- One row for each day and version, and one for each day over all versions ('all'):
--
--   requests   Headgate's own, which it marks by client_request_id, are left out
--   errors     no status, or one from 400 on, but 401, 403, 404 and 429
--   rejected   status 429
--   mean_ms, p95_ms, mean_tokens, all_tokens   of answers: of requests with a status below 400
--
-- The table is written at least once and up to an hour late, so a request is counted once, and the
-- newest hour may yet grow. Its times have no zone of the session's here.
--
-- Versions are named by system.serving.served_entities. Without the right to read it, put
--   (SELECT CAST(NULL AS STRING) AS served_entity_id, CAST(NULL AS STRING) AS served_entity_name,
--    CAST(NULL AS STRING) AS entity_version, CAST(NULL AS STRING) AS endpoint_name,
--    CAST(NULL AS TIMESTAMP) AS change_time)
-- in its place: served entities are then named by Headgate's own requests, or else by their ids.
WITH entities AS (
  SELECT
    served_entity_id,
    max_by(served_entity_name, change_time) AS entity,
    max_by(entity_version, change_time) AS version
  FROM system.serving.served_entities
  WHERE endpoint_name = :endpoint
  GROUP BY served_entity_id
),
requests AS (
  SELECT
    databricks_request_id AS request_id,
    min(unix_millis(request_time)) AS came_ms,
    max(coalesce(client_request_id, '')) AS marker,
    max(status_code) AS status,
    max(served_entity_id) AS entity_id,
    max(execution_duration_ms) AS duration_ms,
    max(nullif(try_cast(get_json_object(response, :tokens) AS DOUBLE), CAST('NaN' AS DOUBLE))) AS tokens
  FROM IDENTIFIER(:table)
  WHERE request_date >= date_sub(current_date(), CAST(:days AS INT) + 1)
  GROUP BY databricks_request_id
),
marked AS (
  SELECT entity_id, max(split_part(marker, '/', 3)) AS entity
  FROM requests
  WHERE startswith(marker, 'headgate/')
  GROUP BY entity_id
  HAVING min(split_part(marker, '/', 3)) = max(split_part(marker, '/', 3))
),
named AS (
  SELECT
    date_add(DATE '1970-01-01', CAST(came_ms DIV 86400000 AS INT)) AS day,
    entities.version AS version,
    coalesce(entities.entity, marked.entity, requests.entity_id, 'unknown') AS entity,
    status,
    status IS NULL OR (status >= 400 AND status NOT IN (401, 403, 404, 429)) AS failed,
    CASE WHEN status < 400 THEN duration_ms END AS answered_ms,
    CASE WHEN status < 400 THEN tokens END AS tokens
  FROM requests
  LEFT JOIN entities ON entities.served_entity_id = requests.entity_id
  LEFT JOIN marked ON marked.entity_id = requests.entity_id
  WHERE NOT startswith(marker, 'headgate/')
    AND came_ms DIV 86400000
      > unix_millis(current_timestamp()) DIV 86400000 - CAST(:days AS BIGINT)
)
SELECT
  CAST(day AS STRING) AS day,
  coalesce(version, '') AS version,
  entity,
  count(*) AS requests,
  count_if(failed) AS errors,
  count_if(failed) / count(*) AS error_rate,
  count_if(status = 429) AS rejected,
  avg(answered_ms) AS mean_ms,
  percentile(answered_ms, 0.95) AS p95_ms,
  avg(tokens) AS mean_tokens,
  sum(tokens) AS all_tokens
FROM named
GROUP BY day, version, entity
UNION ALL
SELECT
  CAST(day AS STRING),
  'all',
  '',
  count(*),
  count_if(failed),
  count_if(failed) / count(*),
  count_if(status = 429),
  avg(answered_ms),
  percentile(answered_ms, 0.95),
  avg(tokens),
  sum(tokens)
FROM named
GROUP BY day
ORDER BY day, version
