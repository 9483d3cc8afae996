-- The models of the catalogue, as clients read them. Written by: python -m scripts.models seed
-- A row that is there keeps its name, its defaults and whether it is active; one with a schema of its own keeps all.

-- An older models table may hold whatever else; then its own rows will do.
do $$
begin
    insert into public.models (
        replicate_id, name, default_width, default_height, default_steps, default_guidance_scale,
        aspect_ratios, output_formats, max_outputs, supports_size,
        supports_negative_prompt, supports_source_image, supports_strength, supports_steps,
        supports_guidance, supports_seed, supports_style, aliases,
        price_usd, typical_seconds, is_active, retired_reason
    )
    values
        (
            'black-forest-labs/flux-schnell', 'FLUX Schnell', 1024, 1024, 4, null,
            '{1:1, 16:9, 21:9, 3:2, 2:3, 4:5, 5:4, 3:4, 4:3, 9:16, 9:21}', '{webp, png, jpeg}', 4, false, false,
            false, false, true, false, true, false, '{flux-schnell}', 0.003, 1, true, null
        ),
        (
            'black-forest-labs/flux-dev', 'FLUX Dev', 1024, 1024, 28, 3,
            '{1:1, 16:9, 21:9, 3:2, 2:3, 4:5, 5:4, 3:4, 4:3, 9:16, 9:21}', '{webp, png, jpeg}', 4, false, false,
            true, true, true, true, true, false, '{flux-dev}', 0.025, 2, true, null
        ),
        (
            'black-forest-labs/flux-krea-dev', 'FLUX Krea Dev', 1024, 1024, 28, 4.5,
            '{1:1, 16:9, 21:9, 3:2, 2:3, 4:5, 5:4, 3:4, 4:3, 9:16, 9:21}', '{webp, png, jpeg}', 4, false, false,
            true, true, true, true, true, false, '{flux-krea-dev}', 0.025, null, true, null
        ),
        (
            'black-forest-labs/flux-1.1-pro', 'FLUX 1.1 Pro', null, null, null, null,
            '{1:1, 16:9, 3:2, 2:3, 4:5, 5:4, 9:16, 3:4, 4:3}', '{webp, png, jpeg}', 1, true, false, true, false,
            false, false, true, false, '{flux-1.1-pro}', 0.04, 4.5, true, null
        ),
        (
            'stability-ai/sdxl', 'SDXL', 1024, 1024, 50, 7.5, '{}', '{}', 4, true, true, true, true, true, true,
            true, false, '{sdxl}', null, null, true, null
        ),
        (
            'bytedance/sdxl-lightning-4step', 'SDXL Lightning', 1024, 1024, 4, 0, '{}', '{}', 4, true, true,
            false, false, true, true, true, false, '{sdxl-lightning-4step, sdxl-lightning}', null, null, true,
            null
        ),
        (
            'stability-ai/stable-diffusion-3.5-large', 'Stable Diffusion 3.5 Large', 1024, 1024, null, 5,
            '{16:9, 1:1, 21:9, 2:3, 3:2, 4:5, 5:4, 9:16, 9:21}', '{webp, png, jpeg}', 1, false, true, true, true,
            false, true, true, false, '{stable-diffusion-3.5-large}', 0.065, null, true, null
        ),
        (
            'ideogram-ai/ideogram-v3-turbo', 'Ideogram V3 Turbo', 1024, 1024, null, null,
            '{1:3, 3:1, 1:2, 2:1, 9:16, 16:9, 10:16, 16:10, 2:3, 3:2, 3:4, 4:3, 4:5, 5:4, 1:1}', '{}', 1, false,
            false, false, false, false, false, true, true, '{ideogram-v3-turbo}', 0.03, null, true, null
        ),
        (
            'google/imagen-4-fast', 'Imagen 4 Fast', 1024, 1024, null, null, '{1:1, 9:16, 16:9, 3:4, 4:3}',
            '{png, jpeg}', 1, false, false, false, false, false, false, false, false,
            '{imagen-4-fast, google-deepmind/imagen-4-fast}', 0.02, null, true, null
        ),
        (
            'recraft-ai/recraft-v3', 'Recraft V3', 1024, 1024, null, null,
            '{1:1, 4:3, 3:4, 3:2, 2:3, 16:9, 9:16, 1:2, 2:1, 7:5, 5:7, 4:5, 5:4, 3:5, 5:3}', '{}', 1, false,
            false, false, false, false, false, false, true, '{recraft-v3}', 0.04, null, true, null
        ),
        (
            'recraft-ai/recraft-v3-svg', 'Recraft V3 SVG', 1024, 1024, null, null,
            '{1:1, 4:3, 3:4, 3:2, 2:3, 16:9, 9:16, 1:2, 2:1, 7:5, 5:7, 4:5, 5:4, 3:5, 5:3}', '{}', 1, false,
            false, false, false, false, false, false, true, '{recraft-v3-svg, fofr/recraft-v3-svg}', 0.08, null,
            true, null
        ),
        (
            'bytedance/seedream-3', 'Seedream 3', 2048, 2048, null, 2.5,
            '{1:1, 3:4, 4:3, 16:9, 9:16, 2:3, 3:2, 21:9}', '{}', 1, true, false, false, false, false, true, true,
            false, '{seedream-3}', 0.03, null, true, null
        ),
        (
            'bytedance/seedream-4', 'Seedream 4', 2048, 2048, null, null,
            '{1:1, 4:3, 3:4, 16:9, 9:16, 3:2, 2:3, 21:9}', '{}', 15, true, false, true, false, false, false,
            false, false, '{seedream-4}', 0.03, 14, true, null
        ),
        (
            'qwen/qwen-image', 'Qwen Image', 1024, 1024, 30, 3, '{1:1, 16:9, 9:16, 4:3, 3:4, 3:2, 2:3}',
            '{webp, png, jpeg}', 1, false, true, true, true, true, true, true, false, '{qwen-image}', 0.025, 3.5,
            true, null
        ),
        (
            'black-forest-labs/flux-1.1-pro-ultra', 'FLUX 1.1 Pro Ultra', 1024, 1024, null, null,
            '{21:9, 16:9, 3:2, 4:3, 5:4, 1:1, 4:5, 3:4, 2:3, 9:16, 9:21}', '{png, jpeg}', 1, false, false, true,
            true, false, false, true, false, '{flux-1.1-pro-ultra}', 0.06, 8, true, null
        ),
        (
            'black-forest-labs/flux-kontext-pro', 'FLUX Kontext Pro', 1024, 1024, null, null,
            '{1:1, 16:9, 9:16, 4:3, 3:4, 3:2, 2:3, 4:5, 5:4, 21:9, 9:21, 2:1, 1:2}', '{png, jpeg}', 1, false,
            false, true, false, false, false, true, false, '{flux-kontext-pro}', 0.04, null, true, null
        ),
        (
            'black-forest-labs/flux-2-pro', 'FLUX 2 Pro', null, null, null, null,
            '{1:1, 16:9, 3:2, 2:3, 4:5, 5:4, 9:16, 3:4, 4:3}', '{webp, png, jpeg}', 1, true, false, true, false,
            false, false, true, false, '{flux-2-pro}', null, 11, true, null
        ),
        (
            'black-forest-labs/flux-2-dev', 'FLUX 2 Dev', null, null, null, null,
            '{1:1, 16:9, 3:2, 2:3, 4:5, 5:4, 9:16, 3:4, 4:3}', '{webp, png, jpeg}', 1, true, false, true, false,
            false, false, true, false, '{flux-2-dev}', null, null, true, null
        ),
        (
            'stability-ai/stable-diffusion-3.5-medium', 'Stable Diffusion 3.5 Medium', 1024, 1024, null, 5,
            '{16:9, 1:1, 21:9, 2:3, 3:2, 4:5, 5:4, 9:16, 9:21}', '{webp, png, jpeg}', 1, false, true, true, true,
            false, true, true, false, '{stable-diffusion-3.5-medium}', null, null, true, null
        ),
        (
            'ideogram-ai/ideogram-v3-balanced', 'Ideogram V3 Balanced', 1024, 1024, null, null,
            '{1:3, 3:1, 1:2, 2:1, 9:16, 16:9, 10:16, 16:10, 2:3, 3:2, 3:4, 4:3, 4:5, 5:4, 1:1}', '{}', 1, false,
            false, false, false, false, false, true, true, '{ideogram-v3-balanced}', 0.06, null, true, null
        ),
        (
            'ideogram-ai/ideogram-v3-quality', 'Ideogram V3 Quality', 1024, 1024, null, null,
            '{1:3, 3:1, 1:2, 2:1, 9:16, 16:9, 10:16, 16:10, 2:3, 3:2, 3:4, 4:3, 4:5, 5:4, 1:1}', '{}', 1, false,
            false, false, false, false, false, true, true, '{ideogram-v3-quality}', 0.09, null, true, null
        ),
        (
            'google/imagen-4', 'Imagen 4', 1024, 1024, null, null, '{1:1, 9:16, 16:9, 3:4, 4:3}', '{png, jpeg}',
            1, false, false, false, false, false, false, false, false, '{imagen-4}', 0.04, null, true, null
        ),
        (
            'google/imagen-4-ultra', 'Imagen 4 Ultra', 1024, 1024, null, null, '{1:1, 9:16, 16:9, 3:4, 4:3}',
            '{png, jpeg}', 1, false, false, false, false, false, false, false, false, '{imagen-4-ultra}', 0.06,
            null, true, null
        ),
        (
            'google/nano-banana', 'Nano Banana', 1024, 1024, null, null,
            '{1:1, 2:3, 3:2, 3:4, 4:3, 4:5, 5:4, 9:16, 16:9, 21:9}', '{png, jpeg}', 1, false, false, true, false,
            false, false, false, false, '{nano-banana}', 0.039, 10, true, null
        ),
        (
            'google/nano-banana-2', 'Nano Banana 2', 1024, 1024, null, null,
            '{1:1, 1:4, 1:8, 2:3, 3:2, 3:4, 4:1, 4:3, 4:5, 5:4, 8:1, 9:16, 16:9, 21:9}', '{png, jpeg}', 1, false,
            false, true, false, false, false, false, false, '{nano-banana-2}', null, null, true, null
        ),
        (
            'google/nano-banana-pro', 'Nano Banana Pro', 1024, 1024, null, null,
            '{1:1, 2:3, 3:2, 3:4, 4:3, 4:5, 5:4, 9:16, 16:9, 21:9}', '{png, jpeg}', 1, false, false, true, false,
            false, false, false, false, '{nano-banana-pro}', null, null, true, null
        ),
        (
            'bytedance/seedream-4.5', 'Seedream 4.5', 2048, 2048, null, null,
            '{1:1, 4:3, 3:4, 16:9, 9:16, 3:2, 2:3, 21:9}', '{}', 15, true, false, true, false, false, false,
            false, false, '{seedream-4.5}', 0.04, null, true, null
        ),
        (
            'openai/gpt-image-1', 'GPT Image 1', 1024, 1024, null, null, '{1:1, 3:2, 2:3}', '{webp, png, jpeg}',
            10, false, false, true, false, false, false, false, false, '{gpt-image-1}', null, null, false,
            'openai/gpt-image-1 requires ''openai_api_key'': a request cannot carry it'
        ),
        (
            'openai/gpt-image-1.5', 'GPT Image 1.5', 1024, 1024, null, null, '{1:1, 3:2, 2:3}',
            '{webp, png, jpeg}', 10, false, false, true, false, false, false, false, false, '{gpt-image-1.5}',
            null, null, true, null
        ),
        (
            'prunaai/z-image-turbo', 'Z-Image Turbo', 1024, 1024, 8, 0, '{}', '{webp, png, jpeg}', 1, true,
            false, false, false, true, true, true, false, '{z-image-turbo}', null, null, true, null
        ),
        (
            'minimax/image-01', 'MiniMax Image 01', 1024, 1024, null, null,
            '{1:1, 16:9, 4:3, 3:2, 2:3, 3:4, 9:16, 21:9}', '{}', 9, false, false, false, false, false, false,
            false, false, '{image-01}', 0.01, null, true, null
        )
    on conflict (replicate_id) do update set
        aspect_ratios = excluded.aspect_ratios,
        output_formats = excluded.output_formats,
        max_outputs = excluded.max_outputs,
        supports_size = excluded.supports_size,
        supports_negative_prompt = excluded.supports_negative_prompt,
        supports_source_image = excluded.supports_source_image,
        supports_strength = excluded.supports_strength,
        supports_steps = excluded.supports_steps,
        supports_guidance = excluded.supports_guidance,
        supports_seed = excluded.supports_seed,
        supports_style = excluded.supports_style,
        aliases = excluded.aliases,
        price_usd = excluded.price_usd,
        typical_seconds = excluded.typical_seconds
    where models.input_schema is null;
exception when not_null_violation or invalid_column_reference then
    raise notice 'public.models has columns or rows of its own: no models added';
end;
$$;
