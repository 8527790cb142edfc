-- The result in BigQuery, read where it lies: nothing is loaded, nothing is stored twice.
--   DATASET=images OUTPUT=gs://BUCKET/out envsubst < deploy/bigquery.sql | bq query --use_legacy_sql=false
-- The bucket and the dataset must be in one region.

CREATE SCHEMA IF NOT EXISTS `${DATASET}`;

-- One row for each image and run. New runs are seen without doing anything again.
CREATE OR REPLACE EXTERNAL TABLE `${DATASET}.predictions`
WITH PARTITION COLUMNS (run_id STRING)
OPTIONS (
  format = 'PARQUET',
  uris = ['${OUTPUT}/predictions/*'],
  hive_partition_uri_prefix = '${OUTPUT}/predictions',
  enable_list_inference = TRUE
);

-- One row for each image: that of its latest run, prediction or not. Run names sort by time.
CREATE OR REPLACE VIEW `${DATASET}.current` AS
SELECT *
FROM `${DATASET}.predictions`
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY uri ORDER BY run_id DESC) = 1;

-- Images without a prediction, with the reason and whether a later try may succeed.
CREATE OR REPLACE VIEW `${DATASET}.errors` AS
SELECT uri, error, error_stage, error_message, retryable, run_id
FROM `${DATASET}.current`
WHERE error IS NOT NULL;
