-- A queue in every state. Users: …01 has many, …02 few.
insert into auth.users (id, email, created_at) values
('00000000-0000-4000-8000-000000000001', 'mira@example.com', now() - interval '40 days'),
('00000000-0000-4000-8000-000000000002', '<b>eve</b>@example.com', now() - interval '2 days');

create temporary table seeds as
select
    number,
    ('10000000-0000-4000-8000-' || lpad(number::text, 12, '0'))::uuid as generation_id,
    ('0199a000-0000-7000-8000-' || lpad(number::text, 12, '0'))::uuid as job_id,
    case when number % 5 = 0 then '00000000-0000-4000-8000-000000000002'::uuid
        else '00000000-0000-4000-8000-000000000001'::uuid end as user_id,
    (array['black-forest-labs/flux-schnell', 'google/nano-banana', 'stability-ai/sdxl'])[1 + number % 3] as model,
    (array[
        'a lighthouse at dawn, watercolour', 'tea fields in the rain', 'a fox asleep in fresh snow',
        '<script>alert("prompt")</script> a storm', 'a very long road through the hills of autumn, seen from above, ' ||
        'with a small red car far away, in the style of an old travel poster, grainy, muted colours',
        'paper boats on a canal at night'
    ])[1 + number % 6] as prompt,
    case
        when number <= 6 then 'pending'
        when number <= 9 then 'processing'
        when number <= 18 then 'failed'
        when number <= 20 then 'cancelled'
        else 'completed'
    end as status,
    now() - number * interval '40 seconds' as created_at
from generate_series(1, 60) as number;

insert into image_generations (
    id, user_id, prompt, model, width, height, status, stage, progress, error_message, generation_time_seconds,
    created_at, updated_at, completed_at
)
select
    generation_id, user_id, prompt, model, 1024, 1024,
    case when status = 'pending' then 'queued' else status end,
    case status when 'processing' then 'drawing' when 'pending' then 'queued' else status end,
    case status when 'processing' then 40 when 'completed' then 100 else 0 end,
    case when status = 'failed' then 'The model has refused the prompt <img src=x onerror=alert(1)>' end,
    case when status = 'completed' then 4 end,
    created_at, created_at, case when status in ('completed', 'failed', 'cancelled') then created_at + interval '7 seconds' end
from seeds;

alter table job_queue disable trigger user;
insert into job_queue (
    id, job_type, payload, status, attempt_number, created_by, created_at, updated_at, scheduled_at, started_at,
    completed_at, worker_id, lease_token, lease_expires_at, parked, error_message, errors
)
select
    job_id, 'generate-image',
    jsonb_build_object('generation_id', generation_id, 'prompt', prompt, 'model_id', model, 'user_id', user_id),
    status, case when status = 'pending' then 0 else 1 end, user_id, created_at, created_at, created_at,
    case when status <> 'pending' then created_at + interval '2 seconds' end,
    case when status in ('completed', 'failed', 'cancelled') then created_at + interval '7 seconds' end,
    case when status <> 'pending' then 'edge-1-4711-abc' end, 1,
    case when status = 'processing' then now() + interval '10 minutes' end,
    status = 'processing' and number = 8,
    case when status = 'failed' then 'The model has refused the prompt <img src=x onerror=alert(1)>' end,
    case when status = 'failed' then jsonb_build_array(jsonb_build_object(
        'attempt', 1, 'at', created_at + interval '7 seconds',
        'class', case when number % 3 = 0 then 'timeout' else 'filtered' end,
        'text', 'The model has refused the prompt <img src=x onerror=alert(1)>', 'lease_token', 1
    )) else '[]' end
from seeds;
insert into job_queue (id, job_type, payload, status, created_at, scheduled_at) values
('0199a000-0000-7000-8000-000000000900', '<i>odd</i>-type', '{"text": "</pre><script>alert(2)</script>"}', 'pending', now(), now());
alter table job_queue enable trigger user;

-- As they came: made, then ended, which is what the ledger of spend counts.
insert into predictions (job_id, lease_token, model, input, status, prediction_id, created_at, expires_at)
select job_id, 1, model, '{"prompt": "x"}', 'running', 'p' || number, created_at + interval '2 seconds', now() + interval '10 minutes'
from seeds where status in ('processing', 'completed', 'failed');
update predictions set
    status = case seeds.status when 'completed' then 'succeeded' else 'failed' end, seconds = 3.2,
    ended_at = seeds.created_at + interval '6 seconds'
from seeds where predictions.job_id = seeds.job_id and seeds.status in ('completed', 'failed');

insert into images (generation_id, user_id, filename, storage_path, public_url, file_size, width, height, format, prompt, model, created_at)
select
    generation_id, user_id, generation_id || '.webp', user_id || '/' || generation_id || '.webp',
    current_setting('test.origin', true) || '/storage/v1/object/public/generated-images/' || user_id || '/' || generation_id || '.webp',
    123456, 1024, 1024, 'webp', prompt, model, created_at + interval '7 seconds'
from seeds where status = 'completed';

insert into queue_history (
    grain, begins_at, job_type, completed, failed, cancelled, failures, wait_counts, work_counts
)
select
    'minute', minute, 'generate-image', 6 + (extract(minute from minute)::int * 7) % 9, case when extract(minute from minute)::int % 9 = 0 then 2 else 0 end, 0,
    case when extract(minute from minute)::int % 9 = 0 then '{"timeout": 2}'::jsonb else '{}' end,
    jsonb_build_object((-20 + extract(minute from minute)::int % 12)::text, 10, '8', 1),
    jsonb_build_object((12 + extract(minute from minute)::int % 5)::text, 10, '24', 1)
from generate_series(date_trunc('minute', now()) - interval '47 hours', date_trunc('minute', now()) - interval '3 minutes', interval '1 minute') as minute;
insert into queue_history (
    grain, begins_at, job_type, completed, failed, cancelled, wait_counts, work_counts
)
select
    'hour', hour, 'generate-image', 300 + (extract(hour from hour)::int * 37) % 200, extract(hour from hour)::int % 7, 1,
    jsonb_build_object((-20 + extract(hour from hour)::int % 12)::text, 100, '8', 10),
    jsonb_build_object((12 + extract(hour from hour)::int % 5)::text, 100, '24', 12)
from generate_series(date_trunc('hour', now()) - interval '29 days', date_trunc('hour', now()) - interval '1 hour', interval '1 hour') as hour;
