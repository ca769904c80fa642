-- What each verb sends to SQL Server. Made by python -m tests.storage.mssql.statements,
-- from the statements that SQLAlchemy compiles; none of it was run on a SQL Server.


-- connecting

SELECT schema_name();

SELECT name FROM sys.system_views WHERE name IN ('dm_exec_sessions', 'dm_pdw_nodes_exec_sessions');

SELECT CAST('test max support' AS NVARCHAR(max));

SELECT 1 FROM fn_listextendedproperty(default, default, default, default, default, default, default);

SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, QUOTED_IDENTIFIER ON; SET NUMERIC_ROUNDABORT, NOCOUNT, XACT_ABORT, IMPLICIT_TRANSACTIONS OFF; SET LOCK_TIMEOUT 50000;


-- upgrade()

SET NOCOUNT ON; DECLARE @got INT; EXEC @got = sp_getapplock @Resource = @name, @LockMode = 'Exclusive', @LockOwner = 'Transaction', @LockTimeout = @wait; SELECT @got;
-- @name NVARCHAR(4000), @wait INT

SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, QUOTED_IDENTIFIER ON; SET NUMERIC_ROUNDABORT, NOCOUNT, XACT_ABORT, IMPLICIT_TRANSACTIONS OFF; SET LOCK_TIMEOUT 50000;

SELECT sys.objects.name
FROM sys.objects JOIN sys.schemas ON sys.objects.schema_id = sys.schemas.schema_id
WHERE sys.schemas.name = CAST(@schema AS NVARCHAR(max)) AND sys.objects.type IN (@type_filter_1, @type_filter_2) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max)));
-- @filter_names_1 NVARCHAR(4000), @schema NVARCHAR(4000), @type_filter_1 NVARCHAR(4000), @type_filter_2 NVARCHAR(4000)
-- 13 times

SELECT sys.objects.name
FROM sys.objects JOIN sys.schemas ON sys.objects.schema_id = sys.schemas.schema_id
WHERE sys.schemas.name = CAST(@schema AS NVARCHAR(max)) AND sys.objects.type IN (@type_filter_1, @type_filter_2) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max)), CAST(@filter_names_2 AS NVARCHAR(max)), CAST(@filter_names_3 AS NVARCHAR(max)), CAST(@filter_names_4 AS NVARCHAR(max)), CAST(@filter_names_5 AS NVARCHAR(max)), CAST(@filter_names_6 AS NVARCHAR(max)), CAST(@filter_names_7 AS NVARCHAR(max)), CAST(@filter_names_8 AS NVARCHAR(max)));
-- @filter_names_1 NVARCHAR(4000), @filter_names_2 NVARCHAR(4000), @filter_names_3 NVARCHAR(4000), @filter_names_4 NVARCHAR(4000), @filter_names_5 NVARCHAR(4000), @filter_names_6 NVARCHAR(4000), @filter_names_7 NVARCHAR(4000), @filter_names_8 NVARCHAR(4000), @schema NVARCHAR(4000), @type_filter_1 NVARCHAR(4000), @type_filter_2 NVARCHAR(4000)

CREATE TABLE jobs (
id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
name NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
data NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
status VARCHAR(16) NOT NULL,
created_at DATETIMEOFFSET(6) NOT NULL,
scheduled_at DATETIMEOFFSET(6) NOT NULL,
started_at DATETIMEOFFSET(6) NULL,
completed_at DATETIMEOFFSET(6) NULL,
queue NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
priority INTEGER NOT NULL,
max_retries INTEGER NOT NULL,
retry_count INTEGER NOT NULL,
timeout FLOAT(53) NULL,
error NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
result NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
repeat NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
schedule_id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NULL,
occurrence_at DATETIMEOFFSET(6) NULL,
sequence INTEGER NULL,
origin VARCHAR(16) NOT NULL,
previous_occurrence_at DATETIMEOFFSET(6) NULL,
missed_before INTEGER NOT NULL,
serial BIT NOT NULL,
concurrency_key NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
lease_token NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NULL,
lease_expires_at DATETIMEOFFSET(6) NULL,
worker NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
PRIMARY KEY (id)
);

CREATE INDEX jobs_leased ON jobs (lease_expires_at) WHERE status = 'processing';

CREATE INDEX jobs_pending ON jobs (priority, scheduled_at, id) WHERE status = 'pending';

CREATE INDEX jobs_pending_at ON jobs (scheduled_at) WHERE status = 'pending';

CREATE INDEX jobs_unfinished ON jobs (schedule_id, occurrence_at) WHERE status IN ('pending', 'processing');

CREATE UNIQUE INDEX jobs_occurrence ON jobs (schedule_id, occurrence_at) WHERE origin <> 'run_now' AND schedule_id IS NOT NULL AND occurrence_at IS NOT NULL;

CREATE TABLE schedules (
id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
name NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
job_name NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
[rule] NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
timezone VARCHAR(64) NOT NULL,
data NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
queue NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
priority INTEGER NOT NULL,
max_retries INTEGER NOT NULL,
timeout FLOAT(53) NULL,
catch_up VARCHAR(16) NOT NULL,
grace FLOAT(53) NOT NULL,
catch_up_window FLOAT(53) NULL,
catch_up_max INTEGER NOT NULL,
overlap VARCHAR(16) NOT NULL,
jitter FLOAT(53) NOT NULL,
concurrency_key NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
module NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
declared VARCHAR(64) NULL,
status VARCHAR(16) NOT NULL,
error NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
paused_at DATETIMEOFFSET(6) NULL,
paused_by NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
anchor_at DATETIMEOFFSET(6) NOT NULL,
rule_since DATETIMEOFFSET(6) NOT NULL,
cursor_at DATETIMEOFFSET(6) NOT NULL,
next_at DATETIMEOFFSET(6) NULL,
materialised INTEGER NOT NULL,
last_occurrence_at DATETIMEOFFSET(6) NULL,
open_skip NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
revision INTEGER NOT NULL,
created_at DATETIMEOFFSET(6) NOT NULL,
updated_at DATETIMEOFFSET(6) NOT NULL,
PRIMARY KEY (id),
UNIQUE (name)
);

CREATE INDEX schedules_due ON schedules (next_at) WHERE status IN ('active', 'paused');

CREATE TABLE skips (
schedule_id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
first_at DATETIMEOFFSET(6) NOT NULL,
last_at DATETIMEOFFSET(6) NOT NULL,
count INTEGER NOT NULL,
reason VARCHAR(16) NOT NULL,
recorded_at DATETIMEOFFSET(6) NOT NULL,
backfilled INTEGER NOT NULL,
PRIMARY KEY (schedule_id, first_at)
);

CREATE TABLE notes (
schedule_id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
revision INTEGER NOT NULL,
at DATETIMEOFFSET(6) NOT NULL,
action VARCHAR(16) NOT NULL,
actor NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
detail NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
PRIMARY KEY (schedule_id, revision)
);

CREATE TABLE declarations (
process NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
code VARCHAR(64) NOT NULL,
since_at DATETIMEOFFSET(6) NOT NULL,
seen_at DATETIMEOFFSET(6) NOT NULL,
schedules NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
PRIMARY KEY NONCLUSTERED (process)
);

CREATE TABLE attempts (
job_id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
started_at DATETIMEOFFSET(6) NOT NULL,
number INTEGER NOT NULL,
ended_at DATETIMEOFFSET(6) NOT NULL,
worker NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
ending VARCHAR(16) NOT NULL,
error NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
traceback NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
log NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
PRIMARY KEY (job_id, started_at, number)
);

CREATE TABLE flows (
name NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
concurrency_key NVARCHAR(512) COLLATE Latin1_General_100_BIN2 NOT NULL,
starts NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
last_at DATETIMEOFFSET(6) NULL,
PRIMARY KEY NONCLUSTERED (name, concurrency_key)
);

CREATE TABLE scheduler_schema (
version_num VARCHAR(32) NOT NULL,
PRIMARY KEY (version_num)
);

SELECT sys.objects.name AS table_name, sys.indexes.index_id, sys.indexes.is_unique, sys.indexes.name, sys.indexes.type, sys.indexes.filter_definition AS filter_definition
FROM sys.indexes JOIN sys.objects ON sys.indexes.object_id = sys.objects.object_id JOIN sys.schemas ON sys.schemas.schema_id = sys.objects.schema_id
WHERE sys.indexes.is_primary_key = @is_primary_key_1 AND sys.indexes.type != @type_1 AND sys.schemas.name = CAST(@owner AS NVARCHAR(max)) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max))) ORDER BY sys.objects.name, sys.indexes.name;
-- @filter_names_1 NVARCHAR(4000), @is_primary_key_1 INT, @owner NVARCHAR(4000), @type_1 INT
-- 6 times

SELECT sys.objects.name AS table_name, sys.index_columns.index_id, sys.columns.name, sys.index_columns.is_included_column
FROM sys.index_columns JOIN sys.columns ON sys.columns.object_id = sys.index_columns.object_id AND sys.columns.column_id = sys.index_columns.column_id JOIN sys.objects ON sys.objects.object_id = sys.index_columns.object_id JOIN sys.schemas ON sys.schemas.schema_id = sys.objects.schema_id
WHERE sys.schemas.name = CAST(@owner AS NVARCHAR(max)) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max))) ORDER BY sys.objects.name, sys.index_columns.index_id, sys.index_columns.key_ordinal;
-- @filter_names_1 NVARCHAR(4000), @owner NVARCHAR(4000)
-- 6 times

INSERT INTO scheduler_schema (version_num) VALUES (@version_num);
-- @version_num NVARCHAR(4000)


-- upgrade() from 0003

SET NOCOUNT ON; DECLARE @got INT; EXEC @got = sp_getapplock @Resource = @name, @LockMode = 'Exclusive', @LockOwner = 'Transaction', @LockTimeout = @wait; SELECT @got;
-- @name NVARCHAR(4000), @wait INT

SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, QUOTED_IDENTIFIER ON; SET NUMERIC_ROUNDABORT, NOCOUNT, XACT_ABORT, IMPLICIT_TRANSACTIONS OFF; SET LOCK_TIMEOUT 50000;

SELECT sys.objects.name
FROM sys.objects JOIN sys.schemas ON sys.objects.schema_id = sys.schemas.schema_id
WHERE sys.schemas.name = CAST(@schema AS NVARCHAR(max)) AND sys.objects.type IN (@type_filter_1, @type_filter_2) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max)));
-- @filter_names_1 NVARCHAR(4000), @schema NVARCHAR(4000), @type_filter_1 NVARCHAR(4000), @type_filter_2 NVARCHAR(4000)
-- 6 times

SELECT scheduler_schema.version_num
FROM scheduler_schema;
-- 2 times

SELECT sys.objects.name AS table_name, sys.schemas.name AS owner, sys.columns.name AS column_name, sys.types.name AS type_name, base_types.name AS base_type, sys.columns.is_nullable, sys.columns.max_length, sys.columns.[precision], sys.columns.scale, sys.default_constraints.definition AS default_value, sys.columns.collation_name, sys.computed_columns.definition AS computed_definition, sys.computed_columns.is_persisted, sys.identity_columns.is_identity, CAST(sys.identity_columns.seed_value AS NUMERIC(38, 0)) AS seed_value, CAST(sys.identity_columns.increment_value AS NUMERIC(38, 0)) AS increment_value, CAST(sys.extended_properties.value AS NVARCHAR(max)) AS comment, sys.columns.column_id
FROM sys.columns JOIN sys.objects ON sys.columns.object_id = sys.objects.object_id JOIN sys.schemas ON sys.objects.schema_id = sys.schemas.schema_id JOIN sys.types ON sys.columns.user_type_id = sys.types.user_type_id LEFT OUTER JOIN sys.types AS base_types ON sys.types.system_type_id = base_types.system_type_id AND base_types.user_type_id = base_types.system_type_id LEFT OUTER JOIN sys.default_constraints ON sys.default_constraints.object_id = sys.columns.default_object_id AND sys.default_constraints.parent_column_id = sys.columns.column_id LEFT OUTER JOIN sys.computed_columns ON sys.computed_columns.object_id = sys.columns.object_id AND sys.computed_columns.column_id = sys.columns.column_id LEFT OUTER JOIN sys.identity_columns ON sys.identity_columns.object_id = sys.columns.object_id AND sys.identity_columns.column_id = sys.columns.column_id LEFT OUTER JOIN sys.extended_properties ON sys.extended_properties.class = @class_1 AND sys.extended_properties.name = CAST(@name_1 AS NVARCHAR(max)) AND sys.columns.object_id = sys.extended_properties.major_id AND sys.columns.column_id = sys.extended_properties.minor_id
WHERE sys.schemas.name = CAST(@owner AS NVARCHAR(max)) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max))) ORDER BY sys.objects.name, sys.columns.column_id;
-- @class_1 INT, @filter_names_1 NVARCHAR(4000), @name_1 NVARCHAR(4000), @owner NVARCHAR(4000)
-- 2 times

ALTER TABLE jobs ADD concurrency_key NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL;

ALTER TABLE schedules ADD concurrency_key NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL;

CREATE TABLE attempts (
job_id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
started_at DATETIMEOFFSET(6) NOT NULL,
number INTEGER NOT NULL,
ended_at DATETIMEOFFSET(6) NOT NULL,
worker NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
ending VARCHAR(16) NOT NULL,
error NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
traceback NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
log NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
PRIMARY KEY (job_id, started_at, number)
);

CREATE TABLE flows (
name NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
concurrency_key NVARCHAR(512) COLLATE Latin1_General_100_BIN2 NOT NULL,
starts NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
last_at DATETIMEOFFSET(6) NULL,
PRIMARY KEY NONCLUSTERED (name, concurrency_key)
);

UPDATE scheduler_schema SET version_num='0004' WHERE scheduler_schema.version_num = '0003';


-- check()

SELECT sys.objects.name
FROM sys.objects JOIN sys.schemas ON sys.objects.schema_id = sys.schemas.schema_id
WHERE sys.schemas.name = CAST(@schema AS NVARCHAR(max)) AND sys.objects.type IN (@type_filter_1, @type_filter_2) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max)));
-- @filter_names_1 NVARCHAR(4000), @schema NVARCHAR(4000), @type_filter_1 NVARCHAR(4000), @type_filter_2 NVARCHAR(4000)

SELECT scheduler_schema.version_num
FROM scheduler_schema;


-- current_revision()

SELECT sys.objects.name
FROM sys.objects JOIN sys.schemas ON sys.objects.schema_id = sys.schemas.schema_id
WHERE sys.schemas.name = CAST(@schema AS NVARCHAR(max)) AND sys.objects.type IN (@type_filter_1, @type_filter_2) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max)));
-- @filter_names_1 NVARCHAR(4000), @schema NVARCHAR(4000), @type_filter_1 NVARCHAR(4000), @type_filter_2 NVARCHAR(4000)


-- save_job()

INSERT INTO jobs (id, name, data, status, created_at, scheduled_at, started_at, completed_at, queue, priority, max_retries, retry_count, timeout, error, result, repeat, schedule_id, occurrence_at, sequence, origin, previous_occurrence_at, missed_before, serial, concurrency_key, lease_token, lease_expires_at, worker) VALUES (@id, @name, @data, @status, @created_at, @scheduled_at, @started_at, @completed_at, @queue, @priority, @max_retries, @retry_count, @timeout, @error, @result, @repeat, @schedule_id, @occurrence_at, @sequence, @origin, @previous_occurrence_at, @missed_before, @serial, @concurrency_key, @lease_token, @lease_expires_at, @worker);
-- @completed_at NVARCHAR(4000), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @error NVARCHAR(4000), @id NVARCHAR(4000), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @max_retries INT, @missed_before INT, @name NVARCHAR(4000), @occurrence_at DATETIMEOFFSET(6), @origin NVARCHAR(4000), @previous_occurrence_at NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @repeat NVARCHAR(4000), @result NVARCHAR(4000), @retry_count INT, @schedule_id NVARCHAR(4000), @scheduled_at DATETIMEOFFSET(6), @sequence NVARCHAR(4000), @serial INT, @started_at NVARCHAR(4000), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @worker NVARCHAR(4000)


-- save_jobs() of two

INSERT INTO jobs (id, name, data, status, created_at, scheduled_at, started_at, completed_at, queue, priority, max_retries, retry_count, timeout, error, result, repeat, schedule_id, occurrence_at, sequence, origin, previous_occurrence_at, missed_before, serial, concurrency_key, lease_token, lease_expires_at, worker) VALUES (@id__0, @name__0, @data__0, @status__0, @created_at__0, @scheduled_at__0, @started_at__0, @completed_at__0, @queue__0, @priority__0, @max_retries__0, @retry_count__0, @timeout__0, @error__0, @result__0, @repeat__0, @schedule_id__0, @occurrence_at__0, @sequence__0, @origin__0, @previous_occurrence_at__0, @missed_before__0, @serial__0, @concurrency_key__0, @lease_token__0, @lease_expires_at__0, @worker__0), (@id__1, @name__1, @data__1, @status__1, @created_at__1, @scheduled_at__1, @started_at__1, @completed_at__1, @queue__1, @priority__1, @max_retries__1, @retry_count__1, @timeout__1, @error__1, @result__1, @repeat__1, @schedule_id__1, @occurrence_at__1, @sequence__1, @origin__1, @previous_occurrence_at__1, @missed_before__1, @serial__1, @concurrency_key__1, @lease_token__1, @lease_expires_at__1, @worker__1);
-- @completed_at__0 NVARCHAR(4000), @completed_at__1 NVARCHAR(4000), @concurrency_key__0 NVARCHAR(4000), @concurrency_key__1 NVARCHAR(4000), @created_at__0 DATETIMEOFFSET(6), @created_at__1 DATETIMEOFFSET(6), @data__0 NVARCHAR(4000), @data__1 NVARCHAR(4000), @error__0 NVARCHAR(4000), @error__1 NVARCHAR(4000), @id__0 NVARCHAR(4000), @id__1 NVARCHAR(4000), @lease_expires_at__0 DATETIMEOFFSET(6), @lease_expires_at__1 NVARCHAR(4000), @lease_token__0 NVARCHAR(4000), @lease_token__1 NVARCHAR(4000), @max_retries__0 INT, @max_retries__1 INT, @missed_before__0 INT, @missed_before__1 INT, @name__0 NVARCHAR(4000), @name__1 NVARCHAR(4000), @occurrence_at__0 NVARCHAR(4000), @occurrence_at__1 DATETIMEOFFSET(6), @origin__0 NVARCHAR(4000), @origin__1 NVARCHAR(4000), @previous_occurrence_at__0 NVARCHAR(4000), @previous_occurrence_at__1 NVARCHAR(4000), @priority__0 INT, @priority__1 INT, @queue__0 NVARCHAR(4000), @queue__1 NVARCHAR(4000), @repeat__0 NVARCHAR(4000), @repeat__1 NVARCHAR(4000), @result__0 NVARCHAR(4000), @result__1 NVARCHAR(4000), @retry_count__0 INT, @retry_count__1 INT, @schedule_id__0 NVARCHAR(4000), @schedule_id__1 NVARCHAR(4000), @scheduled_at__0 DATETIMEOFFSET(6), @scheduled_at__1 DATETIMEOFFSET(6), @sequence__0 NVARCHAR(4000), @sequence__1 NVARCHAR(4000), @serial__0 INT, @serial__1 INT, @started_at__0 DATETIMEOFFSET(6), @started_at__1 NVARCHAR(4000), @status__0 NVARCHAR(4000), @status__1 NVARCHAR(4000), @timeout__0 NVARCHAR(4000), @timeout__1 NVARCHAR(4000), @worker__0 NVARCHAR(4000), @worker__1 NVARCHAR(4000)


-- get_job()

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.id = @id_1;
-- @id_1 NVARCHAR(4000)


-- update_job()

UPDATE jobs SET id=@id, name=@name, data=@data, status=@status, created_at=@created_at, scheduled_at=@scheduled_at, started_at=@started_at, completed_at=@completed_at, queue=@queue, priority=@priority, max_retries=@max_retries, retry_count=@retry_count, timeout=@timeout, error=@error, result=@result, repeat=@repeat, schedule_id=@schedule_id, occurrence_at=@occurrence_at, sequence=@sequence, origin=@origin, previous_occurrence_at=@previous_occurrence_at, missed_before=@missed_before, serial=@serial, concurrency_key=@concurrency_key, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker WHERE jobs.id = @id_1;
-- @completed_at NVARCHAR(4000), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @error NVARCHAR(4000), @id NVARCHAR(4000), @id_1 NVARCHAR(4000), @lease_expires_at DATETIMEOFFSET(6), @lease_token NVARCHAR(4000), @max_retries INT, @missed_before INT, @name NVARCHAR(4000), @occurrence_at NVARCHAR(4000), @origin NVARCHAR(4000), @previous_occurrence_at NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @repeat NVARCHAR(4000), @result NVARCHAR(4000), @retry_count INT, @schedule_id NVARCHAR(4000), @scheduled_at DATETIMEOFFSET(6), @sequence NVARCHAR(4000), @serial INT, @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @worker NVARCHAR(4000)


-- complete_job()

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs WITH (UPDLOCK, ROWLOCK)
WHERE jobs.id = @id_1;
-- @id_1 NVARCHAR(4000)

UPDATE jobs SET id=@id, name=@name, data=@data, status=@status, created_at=@created_at, scheduled_at=@scheduled_at, started_at=@started_at, completed_at=@completed_at, queue=@queue, priority=@priority, max_retries=@max_retries, retry_count=@retry_count, timeout=@timeout, error=@error, result=@result, repeat=@repeat, schedule_id=@schedule_id, occurrence_at=@occurrence_at, sequence=@sequence, origin=@origin, previous_occurrence_at=@previous_occurrence_at, missed_before=@missed_before, serial=@serial, concurrency_key=@concurrency_key, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker WHERE jobs.id = @id_1;
-- @completed_at DATETIMEOFFSET(6), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @error NVARCHAR(4000), @id NVARCHAR(4000), @id_1 NVARCHAR(4000), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @max_retries INT, @missed_before INT, @name NVARCHAR(4000), @occurrence_at NVARCHAR(4000), @origin NVARCHAR(4000), @previous_occurrence_at NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @repeat NVARCHAR(4000), @result NVARCHAR(4000), @retry_count INT, @schedule_id NVARCHAR(4000), @scheduled_at DATETIMEOFFSET(6), @sequence NVARCHAR(4000), @serial INT, @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @worker NVARCHAR(4000)


-- fail_job()

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs WITH (UPDLOCK, ROWLOCK)
WHERE jobs.id = @id_1;
-- @id_1 NVARCHAR(4000)

UPDATE jobs SET id=@id, name=@name, data=@data, status=@status, created_at=@created_at, scheduled_at=@scheduled_at, started_at=@started_at, completed_at=@completed_at, queue=@queue, priority=@priority, max_retries=@max_retries, retry_count=@retry_count, timeout=@timeout, error=@error, result=@result, repeat=@repeat, schedule_id=@schedule_id, occurrence_at=@occurrence_at, sequence=@sequence, origin=@origin, previous_occurrence_at=@previous_occurrence_at, missed_before=@missed_before, serial=@serial, concurrency_key=@concurrency_key, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker WHERE jobs.id = @id_1;
-- @completed_at DATETIMEOFFSET(6), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @error NVARCHAR(4000), @id NVARCHAR(4000), @id_1 NVARCHAR(4000), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @max_retries INT, @missed_before INT, @name NVARCHAR(4000), @occurrence_at NVARCHAR(4000), @origin NVARCHAR(4000), @previous_occurrence_at NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @repeat NVARCHAR(4000), @result NVARCHAR(4000), @retry_count INT, @schedule_id NVARCHAR(4000), @scheduled_at DATETIMEOFFSET(6), @sequence NVARCHAR(4000), @serial INT, @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @worker NVARCHAR(4000)


-- get_jobs_by_status()

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.status = @status_1 ORDER BY jobs.priority, jobs.scheduled_at, jobs.id;
-- @status_1 NVARCHAR(4000)


-- get_jobs_by_priority()

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.status = 'pending' AND jobs.priority = @priority_1 ORDER BY jobs.priority, jobs.scheduled_at, jobs.id;
-- @priority_1 INT


-- get_scheduled_jobs() from

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.status = 'pending' AND jobs.scheduled_at >= @scheduled_at_1 ORDER BY jobs.scheduled_at, jobs.id;
-- @scheduled_at_1 DATETIMEOFFSET(6)


-- get_scheduled_jobs() from and to

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.status = 'pending' AND jobs.scheduled_at >= @scheduled_at_1 AND jobs.scheduled_at < @scheduled_at_2 ORDER BY jobs.scheduled_at, jobs.id;
-- @scheduled_at_1 DATETIMEOFFSET(6), @scheduled_at_2 DATETIMEOFFSET(6)


-- list_jobs()

SELECT TOP 100 jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs ORDER BY jobs.id DESC;


-- list_jobs() of all that may be said

SELECT TOP 5 jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.status = @status_1 AND jobs.name = @name_1 AND jobs.schedule_id = @schedule_id_1 AND jobs.id < @id_1 ORDER BY jobs.id DESC;
-- @id_1 NVARCHAR(4000), @name_1 NVARCHAR(4000), @schedule_id_1 NVARCHAR(4000), @status_1 NVARCHAR(4000)


-- count_jobs()

SELECT jobs.status, count(*) AS count_1
FROM jobs GROUP BY jobs.status;


-- next_job_at()

SELECT TOP 1 jobs.scheduled_at
FROM jobs
WHERE jobs.status = 'pending' AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) ORDER BY jobs.scheduled_at;


-- next_job_at() after another

SELECT TOP 1 jobs.scheduled_at
FROM jobs
WHERE jobs.status = 'pending' AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) AND jobs.scheduled_at > @scheduled_at_1 ORDER BY jobs.scheduled_at;
-- @scheduled_at_1 DATETIMEOFFSET(6)


-- next_job_at() for a queue

SELECT TOP 1 jobs.scheduled_at
FROM jobs
WHERE jobs.status = 'pending' AND jobs.name IN (@name_1_1, @name_1_2) AND jobs.queue = @queue_1 AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) ORDER BY jobs.scheduled_at;
-- @name_1_1 NVARCHAR(4000), @name_1_2 NVARCHAR(4000), @queue_1 NVARCHAR(4000)


-- get_occurrences()

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.schedule_id = @schedule_id_1 AND jobs.occurrence_at >= @occurrence_at_1 AND jobs.occurrence_at < @occurrence_at_2 ORDER BY jobs.occurrence_at, jobs.id;
-- @occurrence_at_1 DATETIMEOFFSET(6), @occurrence_at_2 DATETIMEOFFSET(6), @schedule_id_1 NVARCHAR(4000)


-- get_unfinished_jobs()

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.status IN ('pending', 'processing') AND jobs.schedule_id IN (@schedule_id_1_1, @schedule_id_1_2) ORDER BY jobs.schedule_id, jobs.occurrence_at, jobs.id;
-- @schedule_id_1_1 NVARCHAR(4000), @schedule_id_1_2 NVARCHAR(4000)


-- get_expired_jobs()

SELECT TOP 7 jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.status = 'processing' AND jobs.lease_expires_at <= @lease_expires_at_1 ORDER BY jobs.lease_expires_at, jobs.id;
-- @lease_expires_at_1 DATETIMEOFFSET(6)


-- acquire_next_job()

WITH due AS
(SELECT TOP 1 jobs.id AS id
FROM jobs WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE jobs.status = 'pending' AND jobs.scheduled_at <= @scheduled_at_1 AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) ORDER BY jobs.priority, jobs.scheduled_at, jobs.id)
UPDATE jobs SET status=@status, started_at=@started_at, completed_at=@completed_at, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker OUTPUT inserted.id, inserted.name, inserted.data, inserted.status, inserted.created_at, inserted.scheduled_at, inserted.started_at, inserted.completed_at, inserted.queue, inserted.priority, inserted.max_retries, inserted.retry_count, inserted.timeout, inserted.error, inserted.result, inserted.repeat, inserted.schedule_id, inserted.occurrence_at, inserted.sequence, inserted.origin, inserted.previous_occurrence_at, inserted.missed_before, inserted.serial, inserted.concurrency_key, inserted.lease_token, inserted.lease_expires_at, inserted.worker WHERE jobs.id IN (SELECT due.id
FROM due) AND jobs.status = 'pending';
-- @completed_at NVARCHAR(4000), @lease_expires_at DATETIMEOFFSET(6), @lease_token NVARCHAR(4000), @scheduled_at_1 DATETIMEOFFSET(6), @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @worker NVARCHAR(4000)


-- acquire_next_jobs() for a queue

WITH due AS
(SELECT TOP 3 jobs.id AS id
FROM jobs WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE jobs.status = 'pending' AND jobs.scheduled_at <= @scheduled_at_1 AND jobs.name IN (@name_1_1, @name_1_2) AND jobs.queue = @queue_1 AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) ORDER BY jobs.priority, jobs.scheduled_at, jobs.id)
UPDATE jobs SET status=@status, started_at=@started_at, completed_at=@completed_at, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker OUTPUT inserted.id, inserted.name, inserted.data, inserted.status, inserted.created_at, inserted.scheduled_at, inserted.started_at, inserted.completed_at, inserted.queue, inserted.priority, inserted.max_retries, inserted.retry_count, inserted.timeout, inserted.error, inserted.result, inserted.repeat, inserted.schedule_id, inserted.occurrence_at, inserted.sequence, inserted.origin, inserted.previous_occurrence_at, inserted.missed_before, inserted.serial, inserted.concurrency_key, inserted.lease_token, inserted.lease_expires_at, inserted.worker WHERE jobs.id IN (SELECT due.id
FROM due) AND jobs.status = 'pending';
-- @completed_at NVARCHAR(4000), @lease_expires_at DATETIMEOFFSET(6), @lease_token NVARCHAR(4000), @name_1_1 NVARCHAR(4000), @name_1_2 NVARCHAR(4000), @queue_1 NVARCHAR(4000), @scheduled_at_1 DATETIMEOFFSET(6), @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @worker NVARCHAR(4000)


-- acquire_next_jobs() without handlers

WITH due AS
(SELECT TOP 3 jobs.id AS id
FROM jobs WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE jobs.status = 'pending' AND jobs.scheduled_at <= @scheduled_at_1 AND jobs.name IN (NULL) AND (1 != 1) AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) ORDER BY jobs.priority, jobs.scheduled_at, jobs.id)
UPDATE jobs SET status=@status, started_at=@started_at, completed_at=@completed_at, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker OUTPUT inserted.id, inserted.name, inserted.data, inserted.status, inserted.created_at, inserted.scheduled_at, inserted.started_at, inserted.completed_at, inserted.queue, inserted.priority, inserted.max_retries, inserted.retry_count, inserted.timeout, inserted.error, inserted.result, inserted.repeat, inserted.schedule_id, inserted.occurrence_at, inserted.sequence, inserted.origin, inserted.previous_occurrence_at, inserted.missed_before, inserted.serial, inserted.concurrency_key, inserted.lease_token, inserted.lease_expires_at, inserted.worker WHERE jobs.id IN (SELECT due.id
FROM due) AND jobs.status = 'pending';
-- @completed_at NVARCHAR(4000), @lease_expires_at DATETIMEOFFSET(6), @lease_token NVARCHAR(4000), @scheduled_at_1 DATETIMEOFFSET(6), @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @worker NVARCHAR(4000)


-- acquire_next_jobs() with limits

SELECT jobs.name, jobs.concurrency_key, count(*) AS count_1
FROM jobs
WHERE jobs.status = 'processing' AND jobs.name IN (@name_1_1) GROUP BY jobs.name, jobs.concurrency_key;
-- @name_1_1 NVARCHAR(4000)
-- 2 times

SELECT flows.name, flows.concurrency_key, flows.starts
FROM flows
WHERE flows.name IN (@name_1_1) AND flows.last_at > @last_at_1;
-- @last_at_1 DATETIMEOFFSET(6), @name_1_1 NVARCHAR(4000)

SELECT TOP 3 jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.status = 'pending' AND jobs.scheduled_at <= @scheduled_at_1 AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) AND jobs.name IN (@name_1_1) AND (jobs.name != @name_2 OR jobs.concurrency_key IS NULL OR (jobs.concurrency_key NOT IN (@concurrency_key_1_1))) ORDER BY jobs.priority, jobs.scheduled_at, jobs.id;
-- @concurrency_key_1_1 NVARCHAR(4000), @name_1_1 NVARCHAR(4000), @name_2 NVARCHAR(4000), @scheduled_at_1 DATETIMEOFFSET(6)
-- 2 times

SELECT flows.name, flows.concurrency_key, flows.starts
FROM flows WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE flows.name = @name_1 AND flows.concurrency_key IN (@concurrency_key_1_1) ORDER BY flows.name, flows.concurrency_key;
-- @concurrency_key_1_1 NVARCHAR(4000), @name_1 NVARCHAR(4000)
-- 2 times

SELECT flows.name, flows.concurrency_key, flows.starts
FROM flows
WHERE flows.name = @name_1 AND flows.concurrency_key IN (@concurrency_key_1_1);
-- @concurrency_key_1_1 NVARCHAR(4000), @name_1 NVARCHAR(4000)

INSERT INTO flows (name, concurrency_key, starts, last_at) VALUES (@name, @concurrency_key, @starts, @last_at);
-- @concurrency_key NVARCHAR(4000), @last_at NVARCHAR(4000), @name NVARCHAR(4000), @starts NVARCHAR(4000)

WITH due AS
(SELECT TOP 3 jobs.id AS id
FROM jobs WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE jobs.status = 'pending' AND jobs.scheduled_at <= @scheduled_at_1 AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) AND ((jobs.name NOT IN (@name_1_1)) OR jobs.id IN (@id_1_1)) ORDER BY jobs.priority, jobs.scheduled_at, jobs.id)
UPDATE jobs SET status=@status, started_at=@started_at, completed_at=@completed_at, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker OUTPUT inserted.id, inserted.name, inserted.data, inserted.status, inserted.created_at, inserted.scheduled_at, inserted.started_at, inserted.completed_at, inserted.queue, inserted.priority, inserted.max_retries, inserted.retry_count, inserted.timeout, inserted.error, inserted.result, inserted.repeat, inserted.schedule_id, inserted.occurrence_at, inserted.sequence, inserted.origin, inserted.previous_occurrence_at, inserted.missed_before, inserted.serial, inserted.concurrency_key, inserted.lease_token, inserted.lease_expires_at, inserted.worker WHERE jobs.id IN (SELECT due.id
FROM due) AND jobs.status = 'pending';
-- @completed_at NVARCHAR(4000), @id_1_1 NVARCHAR(4000), @lease_expires_at DATETIMEOFFSET(6), @lease_token NVARCHAR(4000), @name_1_1 NVARCHAR(4000), @scheduled_at_1 DATETIMEOFFSET(6), @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @worker NVARCHAR(4000)

UPDATE flows SET starts=@starts, last_at=@last_at WHERE flows.name = @started_name AND flows.concurrency_key = @started_key;
-- @last_at DATETIMEOFFSET(6), @started_key NVARCHAR(4000), @started_name NVARCHAR(4000), @starts NVARCHAR(4000)


-- acquire_next_jobs() where another is busy

SELECT jobs.name, jobs.concurrency_key, count(*) AS count_1
FROM jobs
WHERE jobs.status = 'processing' AND jobs.name IN (@name_1_1) GROUP BY jobs.name, jobs.concurrency_key;
-- @name_1_1 NVARCHAR(4000)
-- 2 times

SELECT flows.name, flows.concurrency_key, flows.starts
FROM flows
WHERE flows.name IN (@name_1_1) AND flows.last_at > @last_at_1;
-- @last_at_1 DATETIMEOFFSET(6), @name_1_1 NVARCHAR(4000)

SELECT TOP 3 jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.status = 'pending' AND jobs.scheduled_at <= @scheduled_at_1 AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) AND jobs.name IN (@name_1_1) ORDER BY jobs.priority, jobs.scheduled_at, jobs.id;
-- @name_1_1 NVARCHAR(4000), @scheduled_at_1 DATETIMEOFFSET(6)

SELECT flows.name, flows.concurrency_key, flows.starts
FROM flows WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE flows.name = @name_1 AND flows.concurrency_key IN (@concurrency_key_1_1) ORDER BY flows.name, flows.concurrency_key;
-- @concurrency_key_1_1 NVARCHAR(4000), @name_1 NVARCHAR(4000)

SELECT flows.name, flows.concurrency_key, flows.starts
FROM flows
WHERE flows.name = @name_1 AND flows.concurrency_key IN (@concurrency_key_1_1);
-- @concurrency_key_1_1 NVARCHAR(4000), @name_1 NVARCHAR(4000)

SELECT TOP 3 jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.status = 'pending' AND jobs.scheduled_at <= @scheduled_at_1 AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) AND jobs.name IN (@name_1_1) AND (jobs.name != @name_2 OR jobs.concurrency_key IS NOT NULL) ORDER BY jobs.priority, jobs.scheduled_at, jobs.id;
-- @name_1_1 NVARCHAR(4000), @name_2 NVARCHAR(4000), @scheduled_at_1 DATETIMEOFFSET(6)

WITH due AS
(SELECT TOP 3 jobs.id AS id
FROM jobs WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE jobs.status = 'pending' AND jobs.scheduled_at <= @scheduled_at_1 AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) AND (jobs.name NOT IN (@name_1_1)) ORDER BY jobs.priority, jobs.scheduled_at, jobs.id)
UPDATE jobs SET status=@status, started_at=@started_at, completed_at=@completed_at, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker OUTPUT inserted.id, inserted.name, inserted.data, inserted.status, inserted.created_at, inserted.scheduled_at, inserted.started_at, inserted.completed_at, inserted.queue, inserted.priority, inserted.max_retries, inserted.retry_count, inserted.timeout, inserted.error, inserted.result, inserted.repeat, inserted.schedule_id, inserted.occurrence_at, inserted.sequence, inserted.origin, inserted.previous_occurrence_at, inserted.missed_before, inserted.serial, inserted.concurrency_key, inserted.lease_token, inserted.lease_expires_at, inserted.worker WHERE jobs.id IN (SELECT due.id
FROM due) AND jobs.status = 'pending';
-- @completed_at NVARCHAR(4000), @lease_expires_at DATETIMEOFFSET(6), @lease_token NVARCHAR(4000), @name_1_1 NVARCHAR(4000), @scheduled_at_1 DATETIMEOFFSET(6), @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @worker NVARCHAR(4000)


-- acquire_next_jobs() of what has waited too long

WITH due AS
(SELECT TOP 3 jobs.id AS id
FROM jobs WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE jobs.status = 'pending' AND jobs.scheduled_at <= @scheduled_at_1 AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) AND jobs.scheduled_at < @scheduled_at_2 ORDER BY jobs.scheduled_at, jobs.id)
UPDATE jobs SET status=@status, started_at=@started_at, completed_at=@completed_at, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker OUTPUT inserted.id, inserted.name, inserted.data, inserted.status, inserted.created_at, inserted.scheduled_at, inserted.started_at, inserted.completed_at, inserted.queue, inserted.priority, inserted.max_retries, inserted.retry_count, inserted.timeout, inserted.error, inserted.result, inserted.repeat, inserted.schedule_id, inserted.occurrence_at, inserted.sequence, inserted.origin, inserted.previous_occurrence_at, inserted.missed_before, inserted.serial, inserted.concurrency_key, inserted.lease_token, inserted.lease_expires_at, inserted.worker WHERE jobs.id IN (SELECT due.id
FROM due) AND jobs.status = 'pending';
-- @completed_at NVARCHAR(4000), @lease_expires_at DATETIMEOFFSET(6), @lease_token NVARCHAR(4000), @scheduled_at_1 DATETIMEOFFSET(6), @scheduled_at_2 DATETIMEOFFSET(6), @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @worker NVARCHAR(4000)

WITH due AS
(SELECT TOP 3 jobs.id AS id
FROM jobs WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE jobs.status = 'pending' AND jobs.scheduled_at <= @scheduled_at_1 AND (jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = jobs.schedule_id AND earlier.occurrence_at < jobs.occurrence_at AND earlier.sequence IS NOT NULL))) AND jobs.scheduled_at >= @scheduled_at_2 ORDER BY jobs.priority, jobs.scheduled_at, jobs.id)
UPDATE jobs SET status=@status, started_at=@started_at, completed_at=@completed_at, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker OUTPUT inserted.id, inserted.name, inserted.data, inserted.status, inserted.created_at, inserted.scheduled_at, inserted.started_at, inserted.completed_at, inserted.queue, inserted.priority, inserted.max_retries, inserted.retry_count, inserted.timeout, inserted.error, inserted.result, inserted.repeat, inserted.schedule_id, inserted.occurrence_at, inserted.sequence, inserted.origin, inserted.previous_occurrence_at, inserted.missed_before, inserted.serial, inserted.concurrency_key, inserted.lease_token, inserted.lease_expires_at, inserted.worker WHERE jobs.id IN (SELECT due.id
FROM due) AND jobs.status = 'pending';
-- @completed_at NVARCHAR(4000), @lease_expires_at DATETIMEOFFSET(6), @lease_token NVARCHAR(4000), @scheduled_at_1 DATETIMEOFFSET(6), @scheduled_at_2 DATETIMEOFFSET(6), @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @worker NVARCHAR(4000)


-- settle_jobs() of two

SELECT jobs.id, jobs.lease_token, jobs.lease_expires_at
FROM jobs WITH (UPDLOCK, ROWLOCK)
WHERE jobs.status = 'processing' AND jobs.id IN (@id_1_1, @id_1_2) ORDER BY jobs.id;
-- @id_1_1 NVARCHAR(4000), @id_1_2 NVARCHAR(4000)

UPDATE jobs SET status=@status, scheduled_at=@scheduled_at, started_at=@started_at, completed_at=@completed_at, retry_count=@retry_count, error=@error, result=@result, lease_token=@lease_token, lease_expires_at=@lease_expires_at WHERE jobs.id = @held_id AND jobs.lease_token = @held_token AND jobs.status = 'processing';
-- @completed_at DATETIMEOFFSET(6), @error NVARCHAR(4000), @held_id NVARCHAR(4000), @held_token NVARCHAR(4000), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @result NVARCHAR(4000), @retry_count INT, @scheduled_at DATETIMEOFFSET(6), @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000)
-- 2 times


-- settle_jobs() with attempts

SELECT jobs.id, jobs.lease_token, jobs.lease_expires_at
FROM jobs WITH (UPDLOCK, ROWLOCK)
WHERE jobs.status = 'processing' AND jobs.id IN (@id_1_1) ORDER BY jobs.id;
-- @id_1_1 NVARCHAR(4000)

UPDATE jobs SET status=@status, scheduled_at=@scheduled_at, started_at=@started_at, completed_at=@completed_at, retry_count=@retry_count, error=@error, result=@result, lease_token=@lease_token, lease_expires_at=@lease_expires_at WHERE jobs.id = @held_id AND jobs.lease_token = @held_token AND jobs.status = 'processing';
-- @completed_at DATETIMEOFFSET(6), @error NVARCHAR(4000), @held_id NVARCHAR(4000), @held_token NVARCHAR(4000), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @result NVARCHAR(4000), @retry_count INT, @scheduled_at DATETIMEOFFSET(6), @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000)

UPDATE attempts WITH (UPDLOCK, HOLDLOCK) SET ended_at=@ended_at, worker=@worker, ending=@ending, error=@error, traceback=@traceback, log=@log WHERE attempts.job_id = @key_job_id AND attempts.started_at = @key_started_at AND attempts.number = @key_number;
-- @ended_at DATETIMEOFFSET(6), @ending NVARCHAR(4000), @error NVARCHAR(4000), @key_job_id NVARCHAR(4000), @key_number INT, @key_started_at DATETIMEOFFSET(6), @log NVARCHAR(4000), @traceback NVARCHAR(4000), @worker NVARCHAR(4000)

INSERT INTO attempts (job_id, started_at, number, ended_at, worker, ending, error, traceback, log) VALUES (@job_id, @started_at, @number, @ended_at, @worker, @ending, @error, @traceback, @log);
-- @ended_at DATETIMEOFFSET(6), @ending NVARCHAR(4000), @error NVARCHAR(4000), @job_id NVARCHAR(4000), @log NVARCHAR(4000), @number INT, @started_at DATETIMEOFFSET(6), @traceback NVARCHAR(4000), @worker NVARCHAR(4000)


-- settle_jobs() whose leases ran out

SELECT jobs.id, jobs.lease_token, jobs.lease_expires_at
FROM jobs WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE jobs.status = 'processing' AND jobs.id IN (@id_1_1) ORDER BY jobs.id;
-- @id_1_1 NVARCHAR(4000)

UPDATE jobs SET status=@status, scheduled_at=@scheduled_at, started_at=@started_at, completed_at=@completed_at, retry_count=@retry_count, error=@error, result=@result, lease_token=@lease_token, lease_expires_at=@lease_expires_at WHERE jobs.id = @held_id AND jobs.lease_token = @held_token AND jobs.status = 'processing';
-- @completed_at DATETIMEOFFSET(6), @error NVARCHAR(4000), @held_id NVARCHAR(4000), @held_token NVARCHAR(4000), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @result NVARCHAR(4000), @retry_count INT, @scheduled_at DATETIMEOFFSET(6), @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000)


-- renew_leases() of two

SELECT jobs.id, jobs.lease_token, jobs.lease_expires_at
FROM jobs WITH (UPDLOCK, ROWLOCK)
WHERE jobs.status = 'processing' AND jobs.id IN (@id_1_1, @id_1_2) ORDER BY jobs.id;
-- @id_1_1 NVARCHAR(4000), @id_1_2 NVARCHAR(4000)

UPDATE jobs SET lease_expires_at=@lease_expires_at WHERE jobs.id IN (@id_1_1, @id_1_2);
-- @id_1_1 NVARCHAR(4000), @id_1_2 NVARCHAR(4000), @lease_expires_at DATETIMEOFFSET(6)


-- held_leases() of two

SELECT jobs.id, jobs.lease_token
FROM jobs
WHERE jobs.id IN (@id_1_1, @id_1_2);
-- @id_1_1 NVARCHAR(4000), @id_1_2 NVARCHAR(4000)


-- move_job()

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs WITH (UPDLOCK, ROWLOCK)
WHERE jobs.id = @id_1;
-- @id_1 NVARCHAR(4000)

UPDATE jobs SET id=@id, name=@name, data=@data, status=@status, created_at=@created_at, scheduled_at=@scheduled_at, started_at=@started_at, completed_at=@completed_at, queue=@queue, priority=@priority, max_retries=@max_retries, retry_count=@retry_count, timeout=@timeout, error=@error, result=@result, repeat=@repeat, schedule_id=@schedule_id, occurrence_at=@occurrence_at, sequence=@sequence, origin=@origin, previous_occurrence_at=@previous_occurrence_at, missed_before=@missed_before, serial=@serial, concurrency_key=@concurrency_key, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker WHERE jobs.id = @id_1;
-- @completed_at DATETIMEOFFSET(6), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @error NVARCHAR(4000), @id NVARCHAR(4000), @id_1 NVARCHAR(4000), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @max_retries INT, @missed_before INT, @name NVARCHAR(4000), @occurrence_at NVARCHAR(4000), @origin NVARCHAR(4000), @previous_occurrence_at NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @repeat NVARCHAR(4000), @result NVARCHAR(4000), @retry_count INT, @schedule_id NVARCHAR(4000), @scheduled_at DATETIMEOFFSET(6), @sequence NVARCHAR(4000), @serial INT, @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @worker NVARCHAR(4000)


-- prune_jobs()

SELECT count(*) AS count_1, sum(page.goes) AS sum_1, max(page.id) AS max_1
FROM (SELECT TOP 5 jobs.id AS id, CASE WHEN ((jobs.status = 'completed' AND jobs.completed_at < @completed_at_1 OR jobs.status = 'failed' AND jobs.completed_at < @completed_at_2) AND NOT (EXISTS (SELECT *
FROM schedules
WHERE schedules.id = jobs.schedule_id AND (schedules.last_occurrence_at = jobs.occurrence_at OR schedules.cursor_at < jobs.occurrence_at)))) THEN @param_2 ELSE @param_3 END AS goes
FROM jobs
WHERE jobs.id > @id_1 AND jobs.id < @id_2 ORDER BY jobs.id) AS page;
-- @completed_at_1 DATETIMEOFFSET(6), @completed_at_2 DATETIMEOFFSET(6), @id_1 NVARCHAR(4000), @id_2 NVARCHAR(4000), @param_2 INT, @param_3 INT

SELECT 1;

DELETE FROM jobs WHERE jobs.id IN (SELECT jobs.id
FROM jobs WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE jobs.id > @id_1 AND jobs.id <= @id_2 AND (jobs.status = 'completed' AND jobs.completed_at < @completed_at_1 OR jobs.status = 'failed' AND jobs.completed_at < @completed_at_2) AND NOT (EXISTS (SELECT *
FROM schedules
WHERE schedules.id = jobs.schedule_id AND (schedules.last_occurrence_at = jobs.occurrence_at OR schedules.cursor_at < jobs.occurrence_at))));
-- @completed_at_1 DATETIMEOFFSET(6), @completed_at_2 DATETIMEOFFSET(6), @id_1 NVARCHAR(4000), @id_2 NVARCHAR(4000)

DELETE FROM attempts WHERE attempts.job_id > @job_id_1 AND attempts.job_id <= @job_id_2 AND NOT (EXISTS (SELECT *
FROM jobs
WHERE jobs.id = attempts.job_id AND jobs.id > @id_1 AND jobs.id <= @id_2));
-- @id_1 NVARCHAR(4000), @id_2 NVARCHAR(4000), @job_id_1 NVARCHAR(4000), @job_id_2 NVARCHAR(4000)


-- list_attempts()

SELECT attempts.job_id, attempts.started_at, attempts.number, attempts.ended_at, attempts.worker, attempts.ending, attempts.error, attempts.traceback, attempts.log
FROM attempts
WHERE attempts.job_id IN (@job_id_1_1, @job_id_1_2) ORDER BY attempts.job_id, attempts.started_at, attempts.number;
-- @job_id_1_1 NVARCHAR(4000), @job_id_1_2 NVARCHAR(4000)


-- save_schedule() of a new one

INSERT INTO schedules (id, name, job_name, [rule], timezone, data, queue, priority, max_retries, timeout, catch_up, grace, catch_up_window, catch_up_max, overlap, jitter, concurrency_key, module, declared, status, error, paused_at, paused_by, anchor_at, rule_since, cursor_at, next_at, materialised, last_occurrence_at, open_skip, revision, created_at, updated_at) VALUES (@id, @name, @job_name, @rule, @timezone, @data, @queue, @priority, @max_retries, @timeout, @catch_up, @grace, @catch_up_window, @catch_up_max, @overlap, @jitter, @concurrency_key, @module, @declared, @status, @error, @paused_at, @paused_by, @anchor_at, @rule_since, @cursor_at, @next_at, @materialised, @last_occurrence_at, @open_skip, @revision, @created_at, @updated_at);
-- @anchor_at DATETIMEOFFSET(6), @catch_up NVARCHAR(4000), @catch_up_max INT, @catch_up_window NVARCHAR(4000), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @cursor_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @declared NVARCHAR(4000), @error NVARCHAR(4000), @grace FLOAT, @id NVARCHAR(4000), @jitter FLOAT, @job_name NVARCHAR(4000), @last_occurrence_at NVARCHAR(4000), @materialised INT, @max_retries INT, @module NVARCHAR(4000), @name NVARCHAR(4000), @next_at DATETIMEOFFSET(6), @open_skip NVARCHAR(4000), @overlap NVARCHAR(4000), @paused_at NVARCHAR(4000), @paused_by NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @revision INT, @rule NVARCHAR(4000), @rule_since DATETIMEOFFSET(6), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @timezone NVARCHAR(4000), @updated_at DATETIMEOFFSET(6)


-- save_schedule() of one that is there

UPDATE schedules SET id=@id, name=@name, job_name=@job_name, [rule]=@rule, timezone=@timezone, data=@data, queue=@queue, priority=@priority, max_retries=@max_retries, timeout=@timeout, catch_up=@catch_up, grace=@grace, catch_up_window=@catch_up_window, catch_up_max=@catch_up_max, overlap=@overlap, jitter=@jitter, concurrency_key=@concurrency_key, module=@module, declared=@declared, status=@status, error=@error, paused_at=@paused_at, paused_by=@paused_by, anchor_at=@anchor_at, rule_since=@rule_since, cursor_at=@cursor_at, next_at=@next_at, materialised=@materialised, last_occurrence_at=@last_occurrence_at, open_skip=@open_skip, revision=@revision, created_at=@created_at, updated_at=@updated_at WHERE schedules.id = @id_1 AND schedules.revision = @revision_1 AND schedules.cursor_at <= @cursor_at_1;
-- @anchor_at DATETIMEOFFSET(6), @catch_up NVARCHAR(4000), @catch_up_max INT, @catch_up_window NVARCHAR(4000), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @cursor_at DATETIMEOFFSET(6), @cursor_at_1 DATETIMEOFFSET(6), @data NVARCHAR(4000), @declared NVARCHAR(4000), @error NVARCHAR(4000), @grace FLOAT, @id NVARCHAR(4000), @id_1 NVARCHAR(4000), @jitter FLOAT, @job_name NVARCHAR(4000), @last_occurrence_at NVARCHAR(4000), @materialised INT, @max_retries INT, @module NVARCHAR(4000), @name NVARCHAR(4000), @next_at DATETIMEOFFSET(6), @open_skip NVARCHAR(4000), @overlap NVARCHAR(4000), @paused_at NVARCHAR(4000), @paused_by NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @revision INT, @revision_1 INT, @rule NVARCHAR(4000), @rule_since DATETIMEOFFSET(6), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @timezone NVARCHAR(4000), @updated_at DATETIMEOFFSET(6)


-- save_schedules() of two

INSERT INTO schedules (id, name, job_name, [rule], timezone, data, queue, priority, max_retries, timeout, catch_up, grace, catch_up_window, catch_up_max, overlap, jitter, concurrency_key, module, declared, status, error, paused_at, paused_by, anchor_at, rule_since, cursor_at, next_at, materialised, last_occurrence_at, open_skip, revision, created_at, updated_at) VALUES (@id__0, @name__0, @job_name__0, @rule__0, @timezone__0, @data__0, @queue__0, @priority__0, @max_retries__0, @timeout__0, @catch_up__0, @grace__0, @catch_up_window__0, @catch_up_max__0, @overlap__0, @jitter__0, @concurrency_key__0, @module__0, @declared__0, @status__0, @error__0, @paused_at__0, @paused_by__0, @anchor_at__0, @rule_since__0, @cursor_at__0, @next_at__0, @materialised__0, @last_occurrence_at__0, @open_skip__0, @revision__0, @created_at__0, @updated_at__0), (@id__1, @name__1, @job_name__1, @rule__1, @timezone__1, @data__1, @queue__1, @priority__1, @max_retries__1, @timeout__1, @catch_up__1, @grace__1, @catch_up_window__1, @catch_up_max__1, @overlap__1, @jitter__1, @concurrency_key__1, @module__1, @declared__1, @status__1, @error__1, @paused_at__1, @paused_by__1, @anchor_at__1, @rule_since__1, @cursor_at__1, @next_at__1, @materialised__1, @last_occurrence_at__1, @open_skip__1, @revision__1, @created_at__1, @updated_at__1);
-- @anchor_at__0 DATETIMEOFFSET(6), @anchor_at__1 DATETIMEOFFSET(6), @catch_up__0 NVARCHAR(4000), @catch_up__1 NVARCHAR(4000), @catch_up_max__0 INT, @catch_up_max__1 INT, @catch_up_window__0 NVARCHAR(4000), @catch_up_window__1 NVARCHAR(4000), @concurrency_key__0 NVARCHAR(4000), @concurrency_key__1 NVARCHAR(4000), @created_at__0 DATETIMEOFFSET(6), @created_at__1 DATETIMEOFFSET(6), @cursor_at__0 DATETIMEOFFSET(6), @cursor_at__1 DATETIMEOFFSET(6), @data__0 NVARCHAR(4000), @data__1 NVARCHAR(4000), @declared__0 NVARCHAR(4000), @declared__1 NVARCHAR(4000), @error__0 NVARCHAR(4000), @error__1 NVARCHAR(4000), @grace__0 FLOAT, @grace__1 FLOAT, @id__0 NVARCHAR(4000), @id__1 NVARCHAR(4000), @jitter__0 FLOAT, @jitter__1 FLOAT, @job_name__0 NVARCHAR(4000), @job_name__1 NVARCHAR(4000), @last_occurrence_at__0 NVARCHAR(4000), @last_occurrence_at__1 NVARCHAR(4000), @materialised__0 INT, @materialised__1 INT, @max_retries__0 INT, @max_retries__1 INT, @module__0 NVARCHAR(4000), @module__1 NVARCHAR(4000), @name__0 NVARCHAR(4000), @name__1 NVARCHAR(4000), @next_at__0 DATETIMEOFFSET(6), @next_at__1 DATETIMEOFFSET(6), @open_skip__0 NVARCHAR(4000), @open_skip__1 NVARCHAR(4000), @overlap__0 NVARCHAR(4000), @overlap__1 NVARCHAR(4000), @paused_at__0 NVARCHAR(4000), @paused_at__1 NVARCHAR(4000), @paused_by__0 NVARCHAR(4000), @paused_by__1 NVARCHAR(4000), @priority__0 INT, @priority__1 INT, @queue__0 NVARCHAR(4000), @queue__1 NVARCHAR(4000), @revision__0 INT, @revision__1 INT, @rule__0 NVARCHAR(4000), @rule__1 NVARCHAR(4000), @rule_since__0 DATETIMEOFFSET(6), @rule_since__1 DATETIMEOFFSET(6), @status__0 NVARCHAR(4000), @status__1 NVARCHAR(4000), @timeout__0 NVARCHAR(4000), @timeout__1 NVARCHAR(4000), @timezone__0 NVARCHAR(4000), @timezone__1 NVARCHAR(4000), @updated_at__0 DATETIMEOFFSET(6), @updated_at__1 DATETIMEOFFSET(6)

INSERT INTO notes (schedule_id, revision, at, action, actor, detail) VALUES (@schedule_id, @revision, @at, @action, @actor, @detail);
-- @action NVARCHAR(4000), @actor NVARCHAR(4000), @at DATETIMEOFFSET(6), @detail NVARCHAR(4000), @revision INT, @schedule_id NVARCHAR(4000)


-- get_schedules() of two

SELECT schedules.id, schedules.name, schedules.job_name, schedules.[rule], schedules.timezone, schedules.data, schedules.queue, schedules.priority, schedules.max_retries, schedules.timeout, schedules.catch_up, schedules.grace, schedules.catch_up_window, schedules.catch_up_max, schedules.overlap, schedules.jitter, schedules.concurrency_key, schedules.module, schedules.declared, schedules.status, schedules.error, schedules.paused_at, schedules.paused_by, schedules.anchor_at, schedules.rule_since, schedules.cursor_at, schedules.next_at, schedules.materialised, schedules.last_occurrence_at, schedules.open_skip, schedules.revision, schedules.created_at, schedules.updated_at
FROM schedules
WHERE schedules.name IN (@name_1_1, @name_1_2);
-- @name_1_1 NVARCHAR(4000), @name_1_2 NVARCHAR(4000)


-- get_schedules() that are declared

SELECT schedules.id, schedules.name, schedules.job_name, schedules.[rule], schedules.timezone, schedules.data, schedules.queue, schedules.priority, schedules.max_retries, schedules.timeout, schedules.catch_up, schedules.grace, schedules.catch_up_window, schedules.catch_up_max, schedules.overlap, schedules.jitter, schedules.concurrency_key, schedules.module, schedules.declared, schedules.status, schedules.error, schedules.paused_at, schedules.paused_by, schedules.anchor_at, schedules.rule_since, schedules.cursor_at, schedules.next_at, schedules.materialised, schedules.last_occurrence_at, schedules.open_skip, schedules.revision, schedules.created_at, schedules.updated_at
FROM schedules
WHERE schedules.module IS NOT NULL;

SELECT schedules.id, schedules.name, schedules.job_name, schedules.[rule], schedules.timezone, schedules.data, schedules.queue, schedules.priority, schedules.max_retries, schedules.timeout, schedules.catch_up, schedules.grace, schedules.catch_up_window, schedules.catch_up_max, schedules.overlap, schedules.jitter, schedules.concurrency_key, schedules.module, schedules.declared, schedules.status, schedules.error, schedules.paused_at, schedules.paused_by, schedules.anchor_at, schedules.rule_since, schedules.cursor_at, schedules.next_at, schedules.materialised, schedules.last_occurrence_at, schedules.open_skip, schedules.revision, schedules.created_at, schedules.updated_at
FROM schedules
WHERE schedules.name IN (@name_1_1);
-- @name_1_1 NVARCHAR(4000)


-- get_schedule()

SELECT schedules.id, schedules.name, schedules.job_name, schedules.[rule], schedules.timezone, schedules.data, schedules.queue, schedules.priority, schedules.max_retries, schedules.timeout, schedules.catch_up, schedules.grace, schedules.catch_up_window, schedules.catch_up_max, schedules.overlap, schedules.jitter, schedules.concurrency_key, schedules.module, schedules.declared, schedules.status, schedules.error, schedules.paused_at, schedules.paused_by, schedules.anchor_at, schedules.rule_since, schedules.cursor_at, schedules.next_at, schedules.materialised, schedules.last_occurrence_at, schedules.open_skip, schedules.revision, schedules.created_at, schedules.updated_at
FROM schedules
WHERE schedules.name = @name_1;
-- @name_1 NVARCHAR(4000)


-- list_schedules()

SELECT schedules.id, schedules.name, schedules.job_name, schedules.[rule], schedules.timezone, schedules.data, schedules.queue, schedules.priority, schedules.max_retries, schedules.timeout, schedules.catch_up, schedules.grace, schedules.catch_up_window, schedules.catch_up_max, schedules.overlap, schedules.jitter, schedules.concurrency_key, schedules.module, schedules.declared, schedules.status, schedules.error, schedules.paused_at, schedules.paused_by, schedules.anchor_at, schedules.rule_since, schedules.cursor_at, schedules.next_at, schedules.materialised, schedules.last_occurrence_at, schedules.open_skip, schedules.revision, schedules.created_at, schedules.updated_at
FROM schedules;


-- delete_schedule()

SELECT schedules.id
FROM schedules WITH (UPDLOCK, ROWLOCK)
WHERE schedules.name = @name_1;
-- @name_1 NVARCHAR(4000)

DELETE FROM schedules WHERE schedules.id IN (@id_1_1);
-- @id_1_1 NVARCHAR(4000)

DELETE FROM skips WHERE skips.schedule_id IN (@schedule_id_1_1);
-- @schedule_id_1_1 NVARCHAR(4000)

DELETE FROM notes WHERE notes.schedule_id IN (@schedule_id_1_1);
-- @schedule_id_1_1 NVARCHAR(4000)


-- due_schedules()

SELECT TOP 1000 schedules.id, schedules.name, schedules.job_name, schedules.[rule], schedules.timezone, schedules.data, schedules.queue, schedules.priority, schedules.max_retries, schedules.timeout, schedules.catch_up, schedules.grace, schedules.catch_up_window, schedules.catch_up_max, schedules.overlap, schedules.jitter, schedules.concurrency_key, schedules.module, schedules.declared, schedules.status, schedules.error, schedules.paused_at, schedules.paused_by, schedules.anchor_at, schedules.rule_since, schedules.cursor_at, schedules.next_at, schedules.materialised, schedules.last_occurrence_at, schedules.open_skip, schedules.revision, schedules.created_at, schedules.updated_at
FROM schedules
WHERE schedules.status IN ('active', 'paused') AND schedules.next_at <= @now ORDER BY schedules.next_at, schedules.id;
-- @now DATETIMEOFFSET(6)


-- next_schedule_at()

SELECT TOP 1 schedules.next_at
FROM schedules
WHERE schedules.status IN ('active', 'paused') AND schedules.next_at IS NOT NULL ORDER BY schedules.next_at;


-- record_expansions()

SELECT schedules.id, schedules.revision, schedules.cursor_at
FROM schedules WITH (UPDLOCK, ROWLOCK)
WHERE schedules.id IN (@id_1_1, @id_1_2, @id_1_3) ORDER BY schedules.id;
-- @id_1_1 NVARCHAR(4000), @id_1_2 NVARCHAR(4000), @id_1_3 NVARCHAR(4000)

UPDATE schedules SET status=@status, error=@error, cursor_at=@cursor_at, next_at=@next_at, materialised=@materialised, last_occurrence_at=@last_occurrence_at, open_skip=@open_skip, revision=@revision, updated_at=@updated_at WHERE schedules.id = @expanded_id AND schedules.revision = @expanded_revision AND schedules.cursor_at = @expanded_cursor_at;
-- @cursor_at DATETIMEOFFSET(6), @error NVARCHAR(4000), @expanded_cursor_at DATETIMEOFFSET(6), @expanded_id NVARCHAR(4000), @expanded_revision INT, @last_occurrence_at NVARCHAR(4000), @materialised INT, @next_at DATETIMEOFFSET(6), @open_skip NVARCHAR(4000), @revision INT, @status NVARCHAR(4000), @updated_at DATETIMEOFFSET(6)
-- 2 times

UPDATE schedules SET id=@id, name=@name, job_name=@job_name, [rule]=@rule, timezone=@timezone, data=@data, queue=@queue, priority=@priority, max_retries=@max_retries, timeout=@timeout, catch_up=@catch_up, grace=@grace, catch_up_window=@catch_up_window, catch_up_max=@catch_up_max, overlap=@overlap, jitter=@jitter, concurrency_key=@concurrency_key, module=@module, declared=@declared, status=@status, error=@error, paused_at=@paused_at, paused_by=@paused_by, anchor_at=@anchor_at, rule_since=@rule_since, cursor_at=@cursor_at, next_at=@next_at, materialised=@materialised, last_occurrence_at=@last_occurrence_at, open_skip=@open_skip, revision=@revision, created_at=@created_at, updated_at=@updated_at WHERE schedules.id = @expanded_id AND schedules.revision = @expanded_revision AND schedules.cursor_at = @expanded_cursor_at;
-- @anchor_at DATETIMEOFFSET(6), @catch_up NVARCHAR(4000), @catch_up_max INT, @catch_up_window NVARCHAR(4000), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @cursor_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @declared NVARCHAR(4000), @error NVARCHAR(4000), @expanded_cursor_at DATETIMEOFFSET(6), @expanded_id NVARCHAR(4000), @expanded_revision INT, @grace FLOAT, @id NVARCHAR(4000), @jitter FLOAT, @job_name NVARCHAR(4000), @last_occurrence_at NVARCHAR(4000), @materialised INT, @max_retries INT, @module NVARCHAR(4000), @name NVARCHAR(4000), @next_at DATETIMEOFFSET(6), @open_skip NVARCHAR(4000), @overlap NVARCHAR(4000), @paused_at NVARCHAR(4000), @paused_by NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @revision INT, @rule NVARCHAR(4000), @rule_since DATETIMEOFFSET(6), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @timezone NVARCHAR(4000), @updated_at DATETIMEOFFSET(6)

UPDATE jobs SET status=@status, completed_at=@completed_at, lease_token=@lease_token, lease_expires_at=@lease_expires_at WHERE jobs.id = @cancelled_id AND jobs.status = @cancelled_from;
-- @cancelled_from NVARCHAR(4000), @cancelled_id NVARCHAR(4000), @completed_at DATETIMEOFFSET(6), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @status NVARCHAR(4000)

UPDATE skips WITH (UPDLOCK, HOLDLOCK) SET last_at=@last_at, count=@count, reason=@reason, recorded_at=@recorded_at, backfilled=@backfilled WHERE skips.schedule_id = @key_schedule_id AND skips.first_at = @key_first_at;
-- @backfilled INT, @count INT, @key_first_at DATETIMEOFFSET(6), @key_schedule_id NVARCHAR(4000), @last_at DATETIMEOFFSET(6), @reason NVARCHAR(4000), @recorded_at DATETIMEOFFSET(6)
-- 2 times

INSERT INTO skips (schedule_id, first_at, last_at, count, reason, recorded_at, backfilled) VALUES (@schedule_id, @first_at, @last_at, @count, @reason, @recorded_at, @backfilled);
-- @backfilled INT, @count INT, @first_at DATETIMEOFFSET(6), @last_at DATETIMEOFFSET(6), @reason NVARCHAR(4000), @recorded_at DATETIMEOFFSET(6), @schedule_id NVARCHAR(4000)

INSERT INTO notes (schedule_id, revision, at, action, actor, detail) VALUES (@schedule_id, @revision, @at, @action, @actor, @detail);
-- @action NVARCHAR(4000), @actor NVARCHAR(4000), @at DATETIMEOFFSET(6), @detail NVARCHAR(4000), @revision INT, @schedule_id NVARCHAR(4000)

INSERT INTO jobs (id, name, data, status, created_at, scheduled_at, started_at, completed_at, queue, priority, max_retries, retry_count, timeout, error, result, repeat, schedule_id, occurrence_at, sequence, origin, previous_occurrence_at, missed_before, serial, concurrency_key, lease_token, lease_expires_at, worker) VALUES (@id, @name, @data, @status, @created_at, @scheduled_at, @started_at, @completed_at, @queue, @priority, @max_retries, @retry_count, @timeout, @error, @result, @repeat, @schedule_id, @occurrence_at, @sequence, @origin, @previous_occurrence_at, @missed_before, @serial, @concurrency_key, @lease_token, @lease_expires_at, @worker);
-- @completed_at NVARCHAR(4000), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @error NVARCHAR(4000), @id NVARCHAR(4000), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @max_retries INT, @missed_before INT, @name NVARCHAR(4000), @occurrence_at DATETIMEOFFSET(6), @origin NVARCHAR(4000), @previous_occurrence_at NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @repeat NVARCHAR(4000), @result NVARCHAR(4000), @retry_count INT, @schedule_id NVARCHAR(4000), @scheduled_at DATETIMEOFFSET(6), @sequence NVARCHAR(4000), @serial INT, @started_at NVARCHAR(4000), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @worker NVARCHAR(4000)

DELETE FROM schedules WHERE schedules.id IN (@id_1_1);
-- @id_1_1 NVARCHAR(4000)

DELETE FROM skips WHERE skips.schedule_id IN (@schedule_id_1_1);
-- @schedule_id_1_1 NVARCHAR(4000)

DELETE FROM notes WHERE notes.schedule_id IN (@schedule_id_1_1);
-- @schedule_id_1_1 NVARCHAR(4000)


-- record_expansions() without waiting

SELECT schedules.id, schedules.revision, schedules.cursor_at
FROM schedules WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE schedules.id IN (@id_1_1, @id_1_2, @id_1_3) ORDER BY schedules.id;
-- @id_1_1 NVARCHAR(4000), @id_1_2 NVARCHAR(4000), @id_1_3 NVARCHAR(4000)

UPDATE schedules SET status=@status, error=@error, cursor_at=@cursor_at, next_at=@next_at, materialised=@materialised, last_occurrence_at=@last_occurrence_at, open_skip=@open_skip, revision=@revision, updated_at=@updated_at WHERE schedules.id = @expanded_id AND schedules.revision = @expanded_revision AND schedules.cursor_at = @expanded_cursor_at;
-- @cursor_at DATETIMEOFFSET(6), @error NVARCHAR(4000), @expanded_cursor_at DATETIMEOFFSET(6), @expanded_id NVARCHAR(4000), @expanded_revision INT, @last_occurrence_at NVARCHAR(4000), @materialised INT, @next_at DATETIMEOFFSET(6), @open_skip NVARCHAR(4000), @revision INT, @status NVARCHAR(4000), @updated_at DATETIMEOFFSET(6)
-- 2 times

UPDATE schedules SET id=@id, name=@name, job_name=@job_name, [rule]=@rule, timezone=@timezone, data=@data, queue=@queue, priority=@priority, max_retries=@max_retries, timeout=@timeout, catch_up=@catch_up, grace=@grace, catch_up_window=@catch_up_window, catch_up_max=@catch_up_max, overlap=@overlap, jitter=@jitter, concurrency_key=@concurrency_key, module=@module, declared=@declared, status=@status, error=@error, paused_at=@paused_at, paused_by=@paused_by, anchor_at=@anchor_at, rule_since=@rule_since, cursor_at=@cursor_at, next_at=@next_at, materialised=@materialised, last_occurrence_at=@last_occurrence_at, open_skip=@open_skip, revision=@revision, created_at=@created_at, updated_at=@updated_at WHERE schedules.id = @expanded_id AND schedules.revision = @expanded_revision AND schedules.cursor_at = @expanded_cursor_at;
-- @anchor_at DATETIMEOFFSET(6), @catch_up NVARCHAR(4000), @catch_up_max INT, @catch_up_window NVARCHAR(4000), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @cursor_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @declared NVARCHAR(4000), @error NVARCHAR(4000), @expanded_cursor_at DATETIMEOFFSET(6), @expanded_id NVARCHAR(4000), @expanded_revision INT, @grace FLOAT, @id NVARCHAR(4000), @jitter FLOAT, @job_name NVARCHAR(4000), @last_occurrence_at NVARCHAR(4000), @materialised INT, @max_retries INT, @module NVARCHAR(4000), @name NVARCHAR(4000), @next_at DATETIMEOFFSET(6), @open_skip NVARCHAR(4000), @overlap NVARCHAR(4000), @paused_at NVARCHAR(4000), @paused_by NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @revision INT, @rule NVARCHAR(4000), @rule_since DATETIMEOFFSET(6), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @timezone NVARCHAR(4000), @updated_at DATETIMEOFFSET(6)

UPDATE jobs SET status=@status, completed_at=@completed_at, lease_token=@lease_token, lease_expires_at=@lease_expires_at WHERE jobs.id = @cancelled_id AND jobs.status = @cancelled_from;
-- @cancelled_from NVARCHAR(4000), @cancelled_id NVARCHAR(4000), @completed_at DATETIMEOFFSET(6), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @status NVARCHAR(4000)

UPDATE skips WITH (UPDLOCK, HOLDLOCK) SET last_at=@last_at, count=@count, reason=@reason, recorded_at=@recorded_at, backfilled=@backfilled WHERE skips.schedule_id = @key_schedule_id AND skips.first_at = @key_first_at;
-- @backfilled INT, @count INT, @key_first_at DATETIMEOFFSET(6), @key_schedule_id NVARCHAR(4000), @last_at DATETIMEOFFSET(6), @reason NVARCHAR(4000), @recorded_at DATETIMEOFFSET(6)
-- 2 times

INSERT INTO skips (schedule_id, first_at, last_at, count, reason, recorded_at, backfilled) VALUES (@schedule_id, @first_at, @last_at, @count, @reason, @recorded_at, @backfilled);
-- @backfilled INT, @count INT, @first_at DATETIMEOFFSET(6), @last_at DATETIMEOFFSET(6), @reason NVARCHAR(4000), @recorded_at DATETIMEOFFSET(6), @schedule_id NVARCHAR(4000)

INSERT INTO notes (schedule_id, revision, at, action, actor, detail) VALUES (@schedule_id, @revision, @at, @action, @actor, @detail);
-- @action NVARCHAR(4000), @actor NVARCHAR(4000), @at DATETIMEOFFSET(6), @detail NVARCHAR(4000), @revision INT, @schedule_id NVARCHAR(4000)

INSERT INTO jobs (id, name, data, status, created_at, scheduled_at, started_at, completed_at, queue, priority, max_retries, retry_count, timeout, error, result, repeat, schedule_id, occurrence_at, sequence, origin, previous_occurrence_at, missed_before, serial, concurrency_key, lease_token, lease_expires_at, worker) VALUES (@id, @name, @data, @status, @created_at, @scheduled_at, @started_at, @completed_at, @queue, @priority, @max_retries, @retry_count, @timeout, @error, @result, @repeat, @schedule_id, @occurrence_at, @sequence, @origin, @previous_occurrence_at, @missed_before, @serial, @concurrency_key, @lease_token, @lease_expires_at, @worker);
-- @completed_at NVARCHAR(4000), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @error NVARCHAR(4000), @id NVARCHAR(4000), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @max_retries INT, @missed_before INT, @name NVARCHAR(4000), @occurrence_at DATETIMEOFFSET(6), @origin NVARCHAR(4000), @previous_occurrence_at NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @repeat NVARCHAR(4000), @result NVARCHAR(4000), @retry_count INT, @schedule_id NVARCHAR(4000), @scheduled_at DATETIMEOFFSET(6), @sequence NVARCHAR(4000), @serial INT, @started_at NVARCHAR(4000), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @worker NVARCHAR(4000)

DELETE FROM schedules WHERE schedules.id IN (@id_1_1);
-- @id_1_1 NVARCHAR(4000)

DELETE FROM skips WHERE skips.schedule_id IN (@schedule_id_1_1);
-- @schedule_id_1_1 NVARCHAR(4000)

DELETE FROM notes WHERE notes.schedule_id IN (@schedule_id_1_1);
-- @schedule_id_1_1 NVARCHAR(4000)


-- list_skips()

SELECT skips.schedule_id, skips.first_at, skips.last_at, skips.count, skips.reason, skips.recorded_at, skips.backfilled
FROM skips
WHERE skips.schedule_id = @schedule_id_1 ORDER BY skips.first_at DESC;
-- @schedule_id_1 NVARCHAR(4000)


-- list_skips() of a window

SELECT skips.schedule_id, skips.first_at, skips.last_at, skips.count, skips.reason, skips.recorded_at, skips.backfilled
FROM skips
WHERE skips.schedule_id = @schedule_id_1 AND skips.last_at >= @last_at_1 AND skips.first_at < @first_at_1 ORDER BY skips.first_at DESC;
-- @first_at_1 DATETIMEOFFSET(6), @last_at_1 DATETIMEOFFSET(6), @schedule_id_1 NVARCHAR(4000)


-- list_skips(), the last

SELECT TOP 5 skips.schedule_id, skips.first_at, skips.last_at, skips.count, skips.reason, skips.recorded_at, skips.backfilled
FROM skips
WHERE skips.schedule_id = @schedule_id_1 ORDER BY skips.first_at DESC;
-- @schedule_id_1 NVARCHAR(4000)


-- list_notes()

SELECT notes.schedule_id, notes.revision, notes.at, notes.action, notes.actor, notes.detail
FROM notes
WHERE notes.schedule_id = @schedule_id_1 ORDER BY notes.revision;
-- @schedule_id_1 NVARCHAR(4000)


-- save_declaration()

UPDATE declarations WITH (UPDLOCK, HOLDLOCK) SET code=@code, since_at=@since_at, seen_at=@seen_at, schedules=@schedules WHERE declarations.process = @key_process;
-- @code NVARCHAR(4000), @key_process NVARCHAR(4000), @schedules NVARCHAR(4000), @seen_at DATETIMEOFFSET(6), @since_at DATETIMEOFFSET(6)


-- renew_declaration()

UPDATE declarations SET seen_at=@seen_at WHERE declarations.process = @process_1;
-- @process_1 NVARCHAR(4000), @seen_at DATETIMEOFFSET(6)


-- list_declarations()

DELETE FROM declarations WHERE declarations.seen_at < @seen_at_1;
-- @seen_at_1 DATETIMEOFFSET(6)

SELECT declarations.process, declarations.code, declarations.since_at, declarations.seen_at, declarations.schedules
FROM declarations ORDER BY declarations.since_at, declarations.process;


-- restore() where another was first

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.id IN (@id_1_1);
-- @id_1_1 NVARCHAR(4000)

INSERT INTO jobs (id, name, data, status, created_at, scheduled_at, started_at, completed_at, queue, priority, max_retries, retry_count, timeout, error, result, repeat, schedule_id, occurrence_at, sequence, origin, previous_occurrence_at, missed_before, serial, concurrency_key, lease_token, lease_expires_at, worker) VALUES (@id, @name, @data, @status, @created_at, @scheduled_at, @started_at, @completed_at, @queue, @priority, @max_retries, @retry_count, @timeout, @error, @result, @repeat, @schedule_id, @occurrence_at, @sequence, @origin, @previous_occurrence_at, @missed_before, @serial, @concurrency_key, @lease_token, @lease_expires_at, @worker);
-- @completed_at NVARCHAR(4000), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @error NVARCHAR(4000), @id NVARCHAR(4000), @lease_expires_at NVARCHAR(4000), @lease_token NVARCHAR(4000), @max_retries INT, @missed_before INT, @name NVARCHAR(4000), @occurrence_at DATETIMEOFFSET(6), @origin NVARCHAR(4000), @previous_occurrence_at NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @repeat NVARCHAR(4000), @result NVARCHAR(4000), @retry_count INT, @schedule_id NVARCHAR(4000), @scheduled_at DATETIMEOFFSET(6), @sequence NVARCHAR(4000), @serial INT, @started_at NVARCHAR(4000), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @worker NVARCHAR(4000)
-- 2 times

SELECT 1;

SELECT jobs.id, jobs.name, jobs.data, jobs.status, jobs.created_at, jobs.scheduled_at, jobs.started_at, jobs.completed_at, jobs.queue, jobs.priority, jobs.max_retries, jobs.retry_count, jobs.timeout, jobs.error, jobs.result, jobs.repeat, jobs.schedule_id, jobs.occurrence_at, jobs.sequence, jobs.origin, jobs.previous_occurrence_at, jobs.missed_before, jobs.serial, jobs.concurrency_key, jobs.lease_token, jobs.lease_expires_at, jobs.worker
FROM jobs
WHERE jobs.id IN (@id_1_1) OR jobs.schedule_id IN (@schedule_id_1_1) AND jobs.occurrence_at IN (@occurrence_at_1_1);
-- @id_1_1 NVARCHAR(4000), @occurrence_at_1_1 DATETIMEOFFSET(6), @schedule_id_1_1 NVARCHAR(4000)

SELECT schedules.id, schedules.name, schedules.job_name, schedules.[rule], schedules.timezone, schedules.data, schedules.queue, schedules.priority, schedules.max_retries, schedules.timeout, schedules.catch_up, schedules.grace, schedules.catch_up_window, schedules.catch_up_max, schedules.overlap, schedules.jitter, schedules.concurrency_key, schedules.module, schedules.declared, schedules.status, schedules.error, schedules.paused_at, schedules.paused_by, schedules.anchor_at, schedules.rule_since, schedules.cursor_at, schedules.next_at, schedules.materialised, schedules.last_occurrence_at, schedules.open_skip, schedules.revision, schedules.created_at, schedules.updated_at
FROM schedules
WHERE schedules.id IN (@id_1_1) OR schedules.name IN (@name_1_1);
-- @id_1_1 NVARCHAR(4000), @name_1_1 NVARCHAR(4000)

INSERT INTO schedules (id, name, job_name, [rule], timezone, data, queue, priority, max_retries, timeout, catch_up, grace, catch_up_window, catch_up_max, overlap, jitter, concurrency_key, module, declared, status, error, paused_at, paused_by, anchor_at, rule_since, cursor_at, next_at, materialised, last_occurrence_at, open_skip, revision, created_at, updated_at) VALUES (@id, @name, @job_name, @rule, @timezone, @data, @queue, @priority, @max_retries, @timeout, @catch_up, @grace, @catch_up_window, @catch_up_max, @overlap, @jitter, @concurrency_key, @module, @declared, @status, @error, @paused_at, @paused_by, @anchor_at, @rule_since, @cursor_at, @next_at, @materialised, @last_occurrence_at, @open_skip, @revision, @created_at, @updated_at);
-- @anchor_at DATETIMEOFFSET(6), @catch_up NVARCHAR(4000), @catch_up_max INT, @catch_up_window NVARCHAR(4000), @concurrency_key NVARCHAR(4000), @created_at DATETIMEOFFSET(6), @cursor_at DATETIMEOFFSET(6), @data NVARCHAR(4000), @declared NVARCHAR(4000), @error NVARCHAR(4000), @grace FLOAT, @id NVARCHAR(4000), @jitter FLOAT, @job_name NVARCHAR(4000), @last_occurrence_at NVARCHAR(4000), @materialised INT, @max_retries INT, @module NVARCHAR(4000), @name NVARCHAR(4000), @next_at DATETIMEOFFSET(6), @open_skip NVARCHAR(4000), @overlap NVARCHAR(4000), @paused_at NVARCHAR(4000), @paused_by NVARCHAR(4000), @priority INT, @queue NVARCHAR(4000), @revision INT, @rule NVARCHAR(4000), @rule_since DATETIMEOFFSET(6), @status NVARCHAR(4000), @timeout NVARCHAR(4000), @timezone NVARCHAR(4000), @updated_at DATETIMEOFFSET(6)

SELECT skips.schedule_id, skips.first_at, skips.last_at, skips.count, skips.reason, skips.recorded_at, skips.backfilled
FROM skips
WHERE skips.schedule_id IN (@schedule_id_1_1) AND skips.first_at IN (@first_at_1_1);
-- @first_at_1_1 DATETIMEOFFSET(6), @schedule_id_1_1 NVARCHAR(4000)

INSERT INTO skips (schedule_id, first_at, last_at, count, reason, recorded_at, backfilled) VALUES (@schedule_id, @first_at, @last_at, @count, @reason, @recorded_at, @backfilled);
-- @backfilled INT, @count INT, @first_at DATETIMEOFFSET(6), @last_at DATETIMEOFFSET(6), @reason NVARCHAR(4000), @recorded_at DATETIMEOFFSET(6), @schedule_id NVARCHAR(4000)

SELECT notes.schedule_id, notes.revision, notes.at, notes.action, notes.actor, notes.detail
FROM notes
WHERE notes.schedule_id IN (@schedule_id_1_1) AND notes.revision IN (@revision_1_1);
-- @revision_1_1 INT, @schedule_id_1_1 NVARCHAR(4000)

INSERT INTO notes (schedule_id, revision, at, action, actor, detail) VALUES (@schedule_id, @revision, @at, @action, @actor, @detail);
-- @action NVARCHAR(4000), @actor NVARCHAR(4000), @at DATETIMEOFFSET(6), @detail NVARCHAR(4000), @revision INT, @schedule_id NVARCHAR(4000)

SELECT attempts.job_id, attempts.started_at, attempts.number, attempts.ended_at, attempts.worker, attempts.ending, attempts.error, attempts.traceback, attempts.log
FROM attempts
WHERE attempts.job_id IN (@job_id_1_1) AND attempts.started_at IN (@started_at_1_1);
-- @job_id_1_1 NVARCHAR(4000), @started_at_1_1 DATETIMEOFFSET(6)

INSERT INTO attempts (job_id, started_at, number, ended_at, worker, ending, error, traceback, log) VALUES (@job_id, @started_at, @number, @ended_at, @worker, @ending, @error, @traceback, @log);
-- @ended_at DATETIMEOFFSET(6), @ending NVARCHAR(4000), @error NVARCHAR(4000), @job_id NVARCHAR(4000), @log NVARCHAR(4000), @number INT, @started_at DATETIMEOFFSET(6), @traceback NVARCHAR(4000), @worker NVARCHAR(4000)


-- read_clock()

SELECT SYSUTCDATETIME();


-- clear()

DELETE FROM jobs;

DELETE FROM schedules;

DELETE FROM skips;

DELETE FROM notes;

DELETE FROM declarations;

DELETE FROM attempts;

DELETE FROM flows;


-- upgrade() with a schema and a prefix

SET NOCOUNT ON; DECLARE @got INT; EXEC @got = sp_getapplock @Resource = @name, @LockMode = 'Exclusive', @LockOwner = 'Transaction', @LockTimeout = @wait; SELECT @got;
-- @name NVARCHAR(4000), @wait INT

SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, QUOTED_IDENTIFIER ON; SET NUMERIC_ROUNDABORT, NOCOUNT, XACT_ABORT, IMPLICIT_TRANSACTIONS OFF; SET LOCK_TIMEOUT 50000;

SELECT sys.objects.name
FROM sys.objects JOIN sys.schemas ON sys.objects.schema_id = sys.schemas.schema_id
WHERE sys.schemas.name = CAST(@schema AS NVARCHAR(max)) AND sys.objects.type IN (@type_filter_1, @type_filter_2) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max)));
-- @filter_names_1 NVARCHAR(4000), @schema NVARCHAR(4000), @type_filter_1 NVARCHAR(4000), @type_filter_2 NVARCHAR(4000)
-- 13 times

SELECT [INFORMATION_SCHEMA].[SCHEMATA].[SCHEMA_NAME]
FROM [INFORMATION_SCHEMA].[SCHEMATA] ORDER BY [INFORMATION_SCHEMA].[SCHEMATA].[SCHEMA_NAME];

CREATE SCHEMA [Batch];

SELECT sys.objects.name
FROM sys.objects JOIN sys.schemas ON sys.objects.schema_id = sys.schemas.schema_id
WHERE sys.schemas.name = CAST(@schema AS NVARCHAR(max)) AND sys.objects.type IN (@type_filter_1, @type_filter_2) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max)), CAST(@filter_names_2 AS NVARCHAR(max)), CAST(@filter_names_3 AS NVARCHAR(max)), CAST(@filter_names_4 AS NVARCHAR(max)), CAST(@filter_names_5 AS NVARCHAR(max)), CAST(@filter_names_6 AS NVARCHAR(max)), CAST(@filter_names_7 AS NVARCHAR(max)), CAST(@filter_names_8 AS NVARCHAR(max)));
-- @filter_names_1 NVARCHAR(4000), @filter_names_2 NVARCHAR(4000), @filter_names_3 NVARCHAR(4000), @filter_names_4 NVARCHAR(4000), @filter_names_5 NVARCHAR(4000), @filter_names_6 NVARCHAR(4000), @filter_names_7 NVARCHAR(4000), @filter_names_8 NVARCHAR(4000), @schema NVARCHAR(4000), @type_filter_1 NVARCHAR(4000), @type_filter_2 NVARCHAR(4000)

CREATE TABLE [Batch].x_jobs (
id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
name NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
data NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
status VARCHAR(16) NOT NULL,
created_at DATETIMEOFFSET(6) NOT NULL,
scheduled_at DATETIMEOFFSET(6) NOT NULL,
started_at DATETIMEOFFSET(6) NULL,
completed_at DATETIMEOFFSET(6) NULL,
queue NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
priority INTEGER NOT NULL,
max_retries INTEGER NOT NULL,
retry_count INTEGER NOT NULL,
timeout FLOAT(53) NULL,
error NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
result NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
repeat NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
schedule_id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NULL,
occurrence_at DATETIMEOFFSET(6) NULL,
sequence INTEGER NULL,
origin VARCHAR(16) NOT NULL,
previous_occurrence_at DATETIMEOFFSET(6) NULL,
missed_before INTEGER NOT NULL,
serial BIT NOT NULL,
concurrency_key NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
lease_token NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NULL,
lease_expires_at DATETIMEOFFSET(6) NULL,
worker NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
PRIMARY KEY (id)
);

CREATE INDEX x_jobs_leased ON [Batch].x_jobs (lease_expires_at) WHERE status = 'processing';

CREATE INDEX x_jobs_pending ON [Batch].x_jobs (priority, scheduled_at, id) WHERE status = 'pending';

CREATE INDEX x_jobs_pending_at ON [Batch].x_jobs (scheduled_at) WHERE status = 'pending';

CREATE INDEX x_jobs_unfinished ON [Batch].x_jobs (schedule_id, occurrence_at) WHERE status IN ('pending', 'processing');

CREATE UNIQUE INDEX x_jobs_occurrence ON [Batch].x_jobs (schedule_id, occurrence_at) WHERE origin <> 'run_now' AND schedule_id IS NOT NULL AND occurrence_at IS NOT NULL;

CREATE TABLE [Batch].x_schedules (
id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
name NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
job_name NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
[rule] NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
timezone VARCHAR(64) NOT NULL,
data NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
queue NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
priority INTEGER NOT NULL,
max_retries INTEGER NOT NULL,
timeout FLOAT(53) NULL,
catch_up VARCHAR(16) NOT NULL,
grace FLOAT(53) NOT NULL,
catch_up_window FLOAT(53) NULL,
catch_up_max INTEGER NOT NULL,
overlap VARCHAR(16) NOT NULL,
jitter FLOAT(53) NOT NULL,
concurrency_key NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
module NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
declared VARCHAR(64) NULL,
status VARCHAR(16) NOT NULL,
error NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
paused_at DATETIMEOFFSET(6) NULL,
paused_by NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
anchor_at DATETIMEOFFSET(6) NOT NULL,
rule_since DATETIMEOFFSET(6) NOT NULL,
cursor_at DATETIMEOFFSET(6) NOT NULL,
next_at DATETIMEOFFSET(6) NULL,
materialised INTEGER NOT NULL,
last_occurrence_at DATETIMEOFFSET(6) NULL,
open_skip NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
revision INTEGER NOT NULL,
created_at DATETIMEOFFSET(6) NOT NULL,
updated_at DATETIMEOFFSET(6) NOT NULL,
PRIMARY KEY (id),
UNIQUE (name)
);

CREATE INDEX x_schedules_due ON [Batch].x_schedules (next_at) WHERE status IN ('active', 'paused');

CREATE TABLE [Batch].x_skips (
schedule_id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
first_at DATETIMEOFFSET(6) NOT NULL,
last_at DATETIMEOFFSET(6) NOT NULL,
count INTEGER NOT NULL,
reason VARCHAR(16) NOT NULL,
recorded_at DATETIMEOFFSET(6) NOT NULL,
backfilled INTEGER NOT NULL,
PRIMARY KEY (schedule_id, first_at)
);

CREATE TABLE [Batch].x_notes (
schedule_id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
revision INTEGER NOT NULL,
at DATETIMEOFFSET(6) NOT NULL,
action VARCHAR(16) NOT NULL,
actor NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
detail NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
PRIMARY KEY (schedule_id, revision)
);

CREATE TABLE [Batch].x_declarations (
process NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
code VARCHAR(64) NOT NULL,
since_at DATETIMEOFFSET(6) NOT NULL,
seen_at DATETIMEOFFSET(6) NOT NULL,
schedules NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
PRIMARY KEY NONCLUSTERED (process)
);

CREATE TABLE [Batch].x_attempts (
job_id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
started_at DATETIMEOFFSET(6) NOT NULL,
number INTEGER NOT NULL,
ended_at DATETIMEOFFSET(6) NOT NULL,
worker NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NULL,
ending VARCHAR(16) NOT NULL,
error NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
traceback NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
log NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
PRIMARY KEY (job_id, started_at, number)
);

CREATE TABLE [Batch].x_flows (
name NVARCHAR(510) COLLATE Latin1_General_100_BIN2 NOT NULL,
concurrency_key NVARCHAR(512) COLLATE Latin1_General_100_BIN2 NOT NULL,
starts NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
last_at DATETIMEOFFSET(6) NULL,
PRIMARY KEY NONCLUSTERED (name, concurrency_key)
);

CREATE TABLE [Batch].x_scheduler_schema (
version_num VARCHAR(32) NOT NULL,
PRIMARY KEY (version_num)
);

SELECT sys.objects.name AS table_name, sys.indexes.index_id, sys.indexes.is_unique, sys.indexes.name, sys.indexes.type, sys.indexes.filter_definition AS filter_definition
FROM sys.indexes JOIN sys.objects ON sys.indexes.object_id = sys.objects.object_id JOIN sys.schemas ON sys.schemas.schema_id = sys.objects.schema_id
WHERE sys.indexes.is_primary_key = @is_primary_key_1 AND sys.indexes.type != @type_1 AND sys.schemas.name = CAST(@owner AS NVARCHAR(max)) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max))) ORDER BY sys.objects.name, sys.indexes.name;
-- @filter_names_1 NVARCHAR(4000), @is_primary_key_1 INT, @owner NVARCHAR(4000), @type_1 INT
-- 6 times

SELECT sys.objects.name AS table_name, sys.index_columns.index_id, sys.columns.name, sys.index_columns.is_included_column
FROM sys.index_columns JOIN sys.columns ON sys.columns.object_id = sys.index_columns.object_id AND sys.columns.column_id = sys.index_columns.column_id JOIN sys.objects ON sys.objects.object_id = sys.index_columns.object_id JOIN sys.schemas ON sys.schemas.schema_id = sys.objects.schema_id
WHERE sys.schemas.name = CAST(@owner AS NVARCHAR(max)) AND sys.objects.name IN (CAST(@filter_names_1 AS NVARCHAR(max))) ORDER BY sys.objects.name, sys.index_columns.index_id, sys.index_columns.key_ordinal;
-- @filter_names_1 NVARCHAR(4000), @owner NVARCHAR(4000)
-- 6 times

INSERT INTO [Batch].x_scheduler_schema (version_num) VALUES (@version_num);
-- @version_num NVARCHAR(4000)


-- acquire_next_jobs() with a schema and a prefix

WITH due AS
(SELECT TOP 1 [Batch].x_jobs.id AS id
FROM [Batch].x_jobs WITH (UPDLOCK, READPAST, ROWLOCK)
WHERE [Batch].x_jobs.status = 'pending' AND [Batch].x_jobs.scheduled_at <= @scheduled_at_1 AND ([Batch].x_jobs.serial = 0 OR NOT (EXISTS (SELECT *
FROM [Batch].x_jobs AS earlier
WHERE earlier.status IN ('pending', 'processing') AND earlier.schedule_id = [Batch].x_jobs.schedule_id AND earlier.occurrence_at < [Batch].x_jobs.occurrence_at AND earlier.sequence IS NOT NULL))) ORDER BY [Batch].x_jobs.priority, [Batch].x_jobs.scheduled_at, [Batch].x_jobs.id)
UPDATE [Batch].x_jobs SET status=@status, started_at=@started_at, completed_at=@completed_at, lease_token=@lease_token, lease_expires_at=@lease_expires_at, worker=@worker OUTPUT inserted.id, inserted.name, inserted.data, inserted.status, inserted.created_at, inserted.scheduled_at, inserted.started_at, inserted.completed_at, inserted.queue, inserted.priority, inserted.max_retries, inserted.retry_count, inserted.timeout, inserted.error, inserted.result, inserted.repeat, inserted.schedule_id, inserted.occurrence_at, inserted.sequence, inserted.origin, inserted.previous_occurrence_at, inserted.missed_before, inserted.serial, inserted.concurrency_key, inserted.lease_token, inserted.lease_expires_at, inserted.worker WHERE [Batch].x_jobs.id IN (SELECT due.id
FROM due) AND [Batch].x_jobs.status = 'pending';
-- @completed_at NVARCHAR(4000), @lease_expires_at DATETIMEOFFSET(6), @lease_token NVARCHAR(4000), @scheduled_at_1 DATETIMEOFFSET(6), @started_at DATETIMEOFFSET(6), @status NVARCHAR(4000), @worker NVARCHAR(4000)
